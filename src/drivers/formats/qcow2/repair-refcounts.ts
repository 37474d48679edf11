// Repairs refcounts where they lie: whether the refcount structure is fit for that, and the refcounts themselves. All of it is for the window of clusters
// that was counted last.

import { viewOf } from '../../../util/bytes.js';
import type { CheckState } from './check-state.js';
import { pointerTarget } from './pointer-codec.js';
import { getRefcount, refcountByteRange, setRefcount } from './refcount-codec.js';
import { readPadded, STORED_MANY, STORED_UNREADABLE } from './refcount-tally.js';
import { type ClusterIndex, plus, SECTOR } from './types.js';

/** What is compared at once, clusters: a sparse file is nearly all free. */
const PIECE_CLUSTERS = 1 << 16;

/** Skips the pieces of the window in which all refcounts are as they should be, in native code. */
class EqualPieces {
  readonly #state: CheckState;
  readonly #end: number;
  #looked = 0;

  constructor(state: CheckState, end: number) {
    this.#state = state;
    this.#end = end;
  }

  /** The first place from `index` on at which `references` and `stored` may differ. It never goes back. */
  skip(index: number): number {
    const { tally, file } = this.#state;
    const { memory } = file.node.host;
    let at = index;
    while (at >= this.#looked && at < this.#end) {
      this.#looked = Math.min(this.#end, at + PIECE_CLUSTERS);
      const { references, stored } = tally;
      const differing = memory.firstDifference(
        references.subarray(at, this.#looked),
        stored.subarray(at, this.#looked),
      );
      at = differing < 0 ? this.#looked : at + differing;
    }
    return at;
  }
}

/** True where the refcounts of the window can be corrected in place: each has a block of its own, in a table of its own. */
export function isSound(state: CheckState): boolean {
  const { tally, layout, clusterBytes, badBlocks } = state;
  if (badBlocks.size > 0) return false;
  const { refcountTableOffset, refcountTableClusters } = layout;
  if (state.isBeyond(refcountTableOffset, refcountTableClusters * clusterBytes)) return false;
  const { references, stored, start, size } = tally;
  const table = refcountTableOffset / clusterBytes - start;
  for (let index = Math.max(0, table); index < Math.min(size, table + refcountTableClusters); index++) {
    if (references[index] !== 1 || state.overflowed.has((start + index) as ClusterIndex)) return false;
  }
  const pieces = new EqualPieces(state, size);
  for (let index = pieces.skip(0); index < size; index = pieces.skip(index + 1)) {
    if (stored[index] === 0 && references[index] > 0 && tally.blockOffset((start + index) as ClusterIndex) === 0)
      return false;
  }
  return true;
}

/** The cluster after the last one of the window that is in use; 0 where none is. */
export function usedEnd({ tally: { references, start, size }, file }: CheckState): number {
  const { memory } = file.node.host;
  let end = size;
  while (end > 0 && memory.isZero(references.subarray(Math.max(0, end - PIECE_CLUSTERS), end))) end -= PIECE_CLUSTERS;
  for (let index = end - 1; index >= 0; index--) if (references[index] > 0) return start + index + 1;
  return 0;
}

/** Clusters of the window that are L2 tables and something else, too, or tables of several L1 entries. */
export function* sharedTables({ tally, l1Tables, clusterBytes }: CheckState): Generator<ClusterIndex> {
  for (const { view, used } of l1Tables) {
    for (let index = 0; index < used; index++) {
      const cluster = Math.floor(pointerTarget(view, index) / clusterBytes) as ClusterIndex;
      if (cluster > 0 && tally.references[cluster - tally.start] > 1) yield cluster;
    }
  }
}

/** Raises the refcounts of the window that are lower than the references. Resolves with their number. The blocks are sound. */
export function raiseRefcounts(state: CheckState): Promise<number> {
  return correct(state, (refcount, references) => refcount < references);
}

/** Lowers the refcounts of the window that are higher than the references, in blocks that are fit for it. Resolves with their number. */
export function lowerRefcounts(state: CheckState): Promise<number> {
  return correct(state, (refcount, references) => refcount > references);
}

/** Sets the refcounts that are `wrong` to the number of references, and flushes where there were some. */
async function correct(state: CheckState, wrong: (refcount: number, references: number) => boolean): Promise<number> {
  const { tally, file, clusterBytes, layout } = state;
  const { references, stored, start, size } = tally;
  const end = Math.min(size, state.clusterCount - start);
  const order = layout.refcountOrder;
  const bytes = new Uint8Array(clusterBytes);
  const view = viewOf(bytes);
  let corrected = 0;
  const pieces = new EqualPieces(state, end);
  for (let index = 0; index < end; ) {
    if (tally.isExact) index = pieces.skip(index);
    if (index >= end) break;
    const isFine = references[index] === stored[index] && stored[index] < STORED_MANY;
    if (isFine || stored[index] === STORED_UNREADABLE) {
      index++;
      continue;
    }
    const block = tally.blockIndex((start + index) as ClusterIndex);
    const base = block * tally.perBlock - start;
    const stop = Math.min(end, base + tally.perBlock);
    const offset = tally.blockOffset((start + index) as ClusterIndex);
    if (offset === 0 || state.badBlocks.has(block)) {
      index = stop;
      continue;
    }
    await readPadded(file, offset, bytes);
    let from = clusterBytes;
    let to = 0;
    for (; index < stop; index++) {
      const count = tally.referencesOf((start + index) as ClusterIndex);
      if (!wrong(getRefcount(view, order, index - base), count)) continue;
      setRefcount(view, order, index - base, count);
      corrected++;
      stored[index] = Math.min(count, STORED_MANY);
      const range = refcountByteRange(order, index - base, 1);
      from = Math.min(from, range[0]);
      to = Math.max(to, range[1]);
    }
    if (to === 0) continue;
    from -= from % SECTOR;
    to = Math.min(clusterBytes, Math.ceil(to / SECTOR) * SECTOR);
    // The last cluster of the file may be cut short.
    if (file.length < offset + to) await file.truncate(offset + to);
    await file.write(plus(offset, from), bytes.subarray(from, to));
  }
  if (corrected > 0) await file.flush();
  return corrected;
}
