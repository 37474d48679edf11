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
import { readTable } from './check-tables.js';
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

class Check {
  readonly #state: CheckState;
  readonly #counter: ReferenceCounter;
  readonly #windowClusters: number;

  constructor(state: CheckState, windowClusters: number) {
    this.#state = state;
    this.#counter = new ReferenceCounter(state);
    this.#windowClusters = windowClusters;
    if (state.clusterCount > windowClusters * MAX_WINDOWS) {
      const { filename } = state.file;
      throw BlockError.at(filename, 'limit', `${state.clusterCount} clusters are too many to check`, {
        operation: 'check',
      });
    }
  }

  async run(): Promise<CheckResult> {
    const state = this.#state;
    const { l1TableOffset, l1Size, refcountTableOffset, refcountTableClusters } = state.layout;
    state.l1 = await readTable(state, l1TableOffset, l1Size * 8);
    state.refcountTable = await readTable(state, refcountTableOffset, refcountTableClusters * state.clusterBytes);
    // One cluster more: the last one may be partly beyond the end of the file.
    const limit = state.clusterCount + 1;
    for (let start = 0; start < limit; start += this.#windowClusters) {
      await this.#checkWindow(start, Math.min(this.#windowClusters, limit - start));
      state.first = false;
    }
    state.result.imageEndOffset = (state.highest + 1) * state.clusterBytes;
    return state.result;
  }

  async #checkWindow(start: number, size: number): Promise<void> {
    const state = this.#state;
    const { file, clusterBytes, layout } = state;
    const refcounts = { clusterBytes, refcountOrder: layout.refcountOrder, table: state.refcountTable };
    state.tally = new RefcountTally(file, refcounts, start, size);
    state.flagMismatch = false;
    await state.tally.load();
    state.reference(0 as HostOffset, clusterBytes);
    state.reference(layout.l1TableOffset, layout.l1Size * 8);
    await this.#counter.countMapping();
    for (const { offset, length } of layout.regions ?? []) state.reference(offset, length);
    state.reference(layout.refcountTableOffset, layout.refcountTableClusters * clusterBytes);
    this.#counter.countRefcountBlocks();
    await this.#compare();
    if (state.flagMismatch) await reportFlags(state);
  }

  async #compare(): Promise<void> {
    const state = this.#state;
    const { references, stored, start, size } = state.tally;
    const end = Math.min(start + size, state.clusterCount);
    for (let cluster = start; cluster < end; cluster++) {
      const index = cluster - start;
      const reference = references[index];
      const refcount = stored[index];
      if (reference < 254 && reference === refcount) {
        if (reference !== 0) state.highest = cluster;
        continue;
      }
      await this.#compareOne(cluster as ClusterIndex);
    }
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
