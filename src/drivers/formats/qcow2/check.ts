// Consistency check of a qcow2 image: counts how often each host cluster is referenced and compares that with the refcounts.
//
//   header, L1 -> L2 -> data    \
//   refcount table -> blocks     >  references   <-- compare -->   stored refcounts
//                               /
//   check-tables.ts  reads the tables         check-references.ts  counts          check-flags.ts  the "copied" flags
//   check-state.ts   what all of them share   refcount-tally.ts    both sides of the comparison
//
// All tables are read in runs and decoded from raw bytes. Memory is bounded: host clusters are checked in windows, and the tables of an image with more
// clusters than one window are walked once for each window. Findings are reported in qemu-img's order.

import type { CheckResult } from '../../../block/abilities.js';
import type { Child } from '../../../block/child.js';
import type { CheckFinding } from '../../../block/finding.js';
import { BlockError } from '../../../util/errors.js';
import { reportFlags } from './check-flags.js';
import { ReferenceCounter } from './check-references.js';
import { type CheckLayout, CheckState } from './check-state.js';
import { readTables } from './check-tables.js';
import { RefcountTally } from './refcount-tally.js';
import type { ClusterIndex, HostOffset } from './types.js';

/** Clusters of one window: two bytes of memory for each. */
const WINDOW_CLUSTERS = 1 << 26;
/** Windows at most; a file with more clusters is refused. */
const MAX_WINDOWS = 64;

/**
 * Checks the image in `file`. Rejects with `io`, and with `limit` where it is too large or too broken. `windowClusters` is
 * for tests.
 */
export async function checkQcow2(
  file: Child,
  layout: CheckLayout,
  report: (finding: CheckFinding) => void,
  windowClusters = WINDOW_CLUSTERS,
): Promise<CheckResult> {
  return new Check(new CheckState(file, layout, report), windowClusters).run();
}

/** The windows of the file's clusters, and of one more: the last one may be partly beyond the end of the file. Throws `limit` for a file that is too large. */
export function windowsOf(state: CheckState, windowClusters = WINDOW_CLUSTERS): { start: number; size: number }[] {
  const { clusterCount, file } = state;
  if (clusterCount > windowClusters * MAX_WINDOWS) {
    throw BlockError.at(file.filename, 'limit', `${clusterCount} clusters are too many to check`, {
      operation: 'check',
    });
  }
  const limit = clusterCount + 1;
  const windows: { start: number; size: number }[] = [];
  for (let start = 0; start < limit; start += windowClusters) {
    windows.push({ start, size: Math.min(windowClusters, limit - start) });
  }
  return windows;
}

/**
 * Counts the references to the clusters of a window, and loads their refcounts. Without `refcounts`, those of the refcount structure to itself are left
 * out. Rejects with `io`, `limit`.
 */
export async function countWindow(
  state: CheckState,
  counter: ReferenceCounter,
  start: number,
  size: number,
  { refcounts = true } = {},
): Promise<void> {
  const { file, clusterBytes, layout } = state;
  const table = { clusterBytes, refcountOrder: layout.refcountOrder, table: state.refcountTable };
  state.tally = new RefcountTally(file, table, start, size);
  state.flagMismatch = false;
  await state.tally.load();
  for (const block of state.tally.unreadable) state.badBlocks.add(block);
  state.reference(0 as HostOffset, clusterBytes);
  for (const l1 of state.l1Tables) await counter.countMapping(l1);
  for (const { offset, length } of state.regions()) state.reference(offset, length);
  if (!refcounts) return;
  state.reference(layout.refcountTableOffset, layout.refcountTableClusters * clusterBytes);
  counter.countRefcountBlocks();
}

class Check {
  readonly #state: CheckState;
  readonly #counter: ReferenceCounter;
  readonly #windowClusters: number;

  constructor(state: CheckState, windowClusters: number) {
    this.#state = state;
    this.#counter = new ReferenceCounter(state);
    this.#windowClusters = windowClusters;
  }

  async run(): Promise<CheckResult> {
    const state = this.#state;
    await readTables(state);
    for (const { start, size } of windowsOf(state, this.#windowClusters)) {
      await countWindow(state, this.#counter, start, size);
      await this.#compare();
      if (state.flagMismatch) await reportFlags(state);
      state.first = false;
    }
    state.result.imageEndOffset = (state.highest + 1) * state.clusterBytes;
    return state.result;
  }

  async #compare(): Promise<void> {
    const state = this.#state;
    const { references, stored, start, size, isExact } = state.tally;
    const count = Math.min(size, state.clusterCount - start);
    for (let index = 0; index < count; index++) {
      if (isExact) {
        const equal = this.#equalFrom(index, count);
        for (let at = index + equal - 1; at >= index; at--) {
          if (references[at] === 0) continue;
          state.highest = start + at;
          break;
        }
        index += equal;
        if (index >= count) break;
      }
      const reference = references[index];
      if (reference < 254 && reference === stored[index]) {
        if (reference !== 0) state.highest = start + index;
        continue;
      }
      await this.#compareOne((start + index) as ClusterIndex);
    }
  }

  /** How many clusters from `index` on have as many references as their refcount says, before `count`. */
  #equalFrom(index: number, count: number): number {
    const { file, tally } = this.#state;
    const references = tally.references.subarray(index, count);
    const differing = file.node.host.memory.firstDifference(references, tally.stored.subarray(index, count));
    return differing < 0 ? references.length : differing;
  }

  async #compareOne(cluster: ClusterIndex): Promise<void> {
    const state = this.#state;
    const { tally } = state;
    const refcount = await tally.exactRefcount(cluster);
    if (refcount === null) {
      state.checkError({
        kind: 'refcount-unreadable',
        cluster,
        table: 'refcount-table',
        index: tally.blockIndex(cluster),
        hostOffset: tally.exactBlockOffset(cluster),
      });
      return;
    }
    const references = tally.referencesOf(cluster);
    state.highest = cluster;
    if (references === refcount) return;
    const hostOffset = cluster * state.clusterBytes;
    const counts = { cluster, hostOffset, refcount, references };
    if (references < Number(refcount)) state.leak({ kind: 'leaked-cluster', ...counts });
    else state.corruptionHere({ kind: 'refcount-too-low', ...counts });
  }
}
