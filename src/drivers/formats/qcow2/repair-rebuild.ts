// Writes a new refcount structure, where the old one is not usable:
//
//   | everything in use, the old structure included | refcount table | block | block | ...
//                                                    '---- flush, then the header's first sector points to the table, flush
//
// Only blocks with a refcount other than zero are made. The new structure counts itself, and not the old one, whose clusters are free from then on.

import type { Child } from '../../../block/child.js';
import { viewOf } from '../../../util/bytes.js';
import { BlockError } from '../../../util/errors.js';
import type { CheckState } from './check-state.js';
import { patchRefcountTable } from './header-patch.js';
import { POINTER_BYTES, putPointer } from './pointer-codec.js';
import { setRefcount } from './refcount-codec.js';
import type { RepairSpace } from './repair-space.js';
import { type ClusterIndex, type HostOffset, MAX_REFCOUNT_TABLE_BYTES } from './types.js';

/** Visits the windows of all clusters, one after the other, with the references counted that are not those of the old structure. */
export type EachWindow = (visit: (state: CheckState) => Promise<void>) => Promise<unknown>;

/** Where the new structure lies. */
interface Plan {
  start: ClusterIndex;
  tableClusters: number;
  /** Indexes of the blocks, ascending. */
  blocks: number[];
}

/** Writes the new structure and switches to it. Resolves with its place. Rejects with `limit` where the file is too large for a refcount table, `no-space`, `io`. */
export async function rebuildRefcounts(
  file: Child,
  space: RepairSpace,
  geometry: { clusterBytes: number; refcountOrder: number },
  eachWindow: EachWindow,
): Promise<{ refcountTableOffset: HostOffset; refcountTableClusters: number }> {
  const { clusterBytes, refcountOrder } = geometry;
  const perBlock = (clusterBytes * 8) / 2 ** refcountOrder;
  const used = new Set<number>();
  await eachWindow(async ({ tally }) => {
    const { references, start, size } = tally;
    for (let index = 0; index < size; index++) {
      if (references[index] === 0) continue;
      const block = Math.floor((start + index) / perBlock);
      used.add(block);
      // The rest of the block has nothing to add.
      index = (block + 1) * perBlock - start - 1;
    }
  });
  const { start, tableClusters, blocks } = await planStructure(file, space, clusterBytes, perBlock, used);
  const end = start + tableClusters + blocks.length;
  const table = new Uint8Array(tableClusters * clusterBytes);
  const bytes = new Uint8Array(clusterBytes);
  const view = viewOf(bytes);
  const placeOf = (ordinal: number): HostOffset => ((start + tableClusters + ordinal) * clusterBytes) as HostOffset;
  const ordinals = new Map(blocks.map((block, ordinal) => [block, ordinal]));
  const write = async (block: number, state: CheckState | null): Promise<void> => {
    bytes.fill(0);
    for (let index = 0; index < perBlock; index++) {
      const cluster = block * perBlock + index;
      const at = state === null ? -1 : cluster - state.tally.start;
      let count = 0;
      if (state !== null && at < state.tally.size && state.tally.references[at] > 0) {
        count = state.tally.referencesOf(cluster as ClusterIndex);
      }
      if (cluster >= start && cluster < end) count++;
      if (count > 0) setRefcount(view, refcountOrder, index, count);
    }
    await file.write(placeOf(ordinals.get(block)!), bytes);
  };
  await eachWindow(async (state) => {
    const { start: first, size } = state.tally;
    for (const block of blocks) {
      if (used.has(block) && block * perBlock >= first && block * perBlock < first + size) await write(block, state);
    }
  });
  for (const block of blocks) if (!used.has(block)) await write(block, null);
  for (const [ordinal, block] of blocks.entries()) putPointer(viewOf(table), block, placeOf(ordinal), false);
  await file.write(start * clusterBytes, table);
  await file.flush();
  const refcountTableOffset = (start * clusterBytes) as HostOffset;
  await patchRefcountTable(file, refcountTableOffset, tableClusters);
  return { refcountTableOffset, refcountTableClusters: tableClusters };
}

/** Takes the place of a structure that counts what `used` counts, and itself. Rejects with `limit`, `no-space`, `io`. */
async function planStructure(
  file: Child,
  space: RepairSpace,
  clusterBytes: number,
  perBlock: number,
  used: ReadonlySet<number>,
): Promise<Plan> {
  let tableClusters = 1;
  let blockClusters = 1;
  // Another place may need fewer blocks. Neither number falls in spite of that, so that this comes to an end; the rest of the place stays free.
  for (;;) {
    const count = tableClusters + blockClusters;
    const start = await space.place(count);
    const all = new Set(used);
    for (let block = Math.floor(start / perBlock); block * perBlock < start + count; block++) all.add(block);
    let entries = 0;
    for (const block of all) entries = Math.max(entries, block + 1);
    const needed = Math.ceil((entries * POINTER_BYTES) / clusterBytes);
    if (needed * clusterBytes > MAX_REFCOUNT_TABLE_BYTES) {
      throw BlockError.at(file.filename, 'limit', 'The file is too large for a refcount table', {
        operation: 'repair',
      });
    }
    if (all.size <= blockClusters && needed <= tableClusters) {
      space.hold({ cluster: start, count });
      return { start, tableClusters, blocks: [...all].sort((a, b) => a - b) };
    }
    tableClusters = Math.max(tableClusters, needed);
    blockClusters = Math.max(blockClusters, all.size);
  }
}
