// What a switch to other tables makes of an image (snapshot-switch.ts).

import type { Run } from './allocation.js';
import type { RefcountDeltas } from './refcount-deltas.js';
import type { Snapshot } from './snapshot-table.js';

/** What the image is to be. */
export interface Target {
  /** Settled: see `settleDeltas`. */
  deltas: RefcountDeltas;
  /** The L1 table, without padding; the pointers of `moved` still lead to the old places. Null: it stays. */
  l1: DataView<ArrayBuffer> | null;
  /** Indexes of L2 tables that get another place, with copied flags as the refcounts will say. */
  moved: readonly number[];
  snapshots: readonly Snapshot[];
  /** Bytes of the disk. */
  size: number;
  /** What becomes of the L1 table, where there is another, and of the old places of `moved`: a snapshot keeps them, or they are not in use any more. */
  oldTables: 'kept' | 'unused';
  /** Further clusters that are not in use any more, beside what `deltas` says. */
  unused: readonly Run[];
}
