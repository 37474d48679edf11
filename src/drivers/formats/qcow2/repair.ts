// Repairs the metadata of an image, on its file. The order of the steps keeps an image, at any write that fails or that power loss cuts off, such that
// another repair mends it, and nothing that could be read is lost:
//
//   1  `all`: the dirty bit is set (version 3), so that whoever opens the image for writing in between repairs it first      | flush
//      and what cannot be read of the snapshots' and bitmaps' tables is given up, by new tables                             repair-snapshots.ts, repair-bitmaps.ts
//          tables | flush, and the header switches to them | flush
//      and so is the active L1 table copied where it cannot be changed in place                                             repair-l1.ts
//   2  `all`: entries that are wrong by themselves are changed in place, but a table whose cluster is used for something else, too, is not touched: it is
//      copied to a new place, with what is to be changed, and so is a cluster with more references than a refcount can say     repair-tables.ts
//          copies | flush    L2 tables, L1 tables | flush
//   3  refcounts that are too low are raised                                    | flush                                         repair-refcounts.ts
//      or, where the refcount structure is not usable, a new one is written into unused space | flush, and the header's first sector switches to it
//                                                                               | flush                                         repair-rebuild.ts
//      (version 2, which has no dirty bit: before step 1, as what is taken from then on is counted before anything points to it, repair-reserve.ts)
//   4  "copied" flags are corrected, by the number of references                | flush                                         repair-tables.ts
//   5  refcounts that are too high are lowered                                  | flush
//   6  the caller checks the image again; where nothing is wrong any more, the bits "dirty" and "corrupt" are cleared
//
// `leaks` does step 5 alone, with the flags of clusters that have one reference left.
//
// New places lie behind everything that is in use, or that was before, and where no entry points to that has yet to be mended (repair-space.ts).

import type { RepairKind } from '../../../block/abilities.js';
import type { Child } from '../../../block/child.js';
import { countWindow, windowsOf } from './check.js';
import { ReferenceCounter } from './check-references.js';
import { type CheckLayout, CheckState } from './check-state.js';
import { readTables } from './check-tables.js';
import { Incompatible } from './header.js';
import { patchFeatures } from './header-patch.js';
import { type BitmapsToMend, mendBitmaps } from './repair-bitmaps.js';
import type { MendingRules } from './repair-entries.js';
import { isL1Misplaced, moveActiveL1 } from './repair-l1.js';
import { rebuildRefcounts } from './repair-rebuild.js';
import { isSound, lowerRefcounts, raiseRefcounts, sharedTables, usedEnd } from './repair-refcounts.js';
import { mendSnapshots, type SnapshotsToMend, sharedL1Tables } from './repair-snapshots.js';
import { RepairSpace } from './repair-space.js';
import { mendFlags, mendTables } from './repair-tables.js';
import type { ClusterIndex } from './types.js';

/** What is mended may show what was hidden behind it: so many times, at most, the tables are gone through. */
const MAX_ROUNDS = 4;

export interface RepairOptions extends MendingRules {
  /** Those of the layout. Without them, damaged ones stay as they are. */
  snapshots?: SnapshotsToMend;
  /** Bitmaps, of which others are to be given up. Without them, all stay as they are. */
  bitmaps?: BitmapsToMend;
  /** For tests: a multiple of the clusters that a refcount block counts. */
  windowClusters?: number;
}

/**
 * Repairs the image in `file`; nobody else may use it meanwhile. `layout` is changed where the refcount structure moves. Rejects with `io`, `no-space`,
 * `limit`; the image can be repaired again then.
 */
export async function repairQcow2(
  file: Child,
  layout: CheckLayout,
  kind: RepairKind,
  options: RepairOptions,
): Promise<void> {
  const repair = new Repair(file, layout, options);
  await (kind === 'all' ? repair.all() : repair.leaks());
}

/** What was found of the image as a whole. */
interface Survey {
  /** With the references of the last window. */
  state: CheckState;
  windows: number;
  space: RepairSpace;
  /** The refcount structure can be corrected in place. */
  sound: boolean;
  /** Clusters that are an L2 table and something else, too. */
  shared: ReadonlySet<ClusterIndex>;
  /** There are, or may be, entries that are wrong by themselves. */
  mendable: boolean;
  /** Indexes of snapshots whose L1 table shares a cluster with something else. */
  sharedL1: ReadonlySet<number>;
  /** The active L1 table is to be moved before anything of it is changed. */
  movesL1: boolean;
}

class Repair {
  readonly #file: Child;
  readonly #layout: CheckLayout;
  readonly #options: RepairOptions;
  #snapshots: SnapshotsToMend | undefined;

  constructor(file: Child, layout: CheckLayout, options: RepairOptions) {
    this.#file = file;
    this.#layout = layout;
    this.#options = options;
    this.#snapshots = options.snapshots;
  }

  async all(): Promise<void> {
    if (this.#layout.version === 3) await patchFeatures(this.#file, { set: Incompatible.dirty });
    const { bitmaps } = this.#options;
    if (bitmaps !== undefined) {
      const { state, space } = await this.#survey();
      await mendBitmaps(state, space, bitmaps);
    }
    for (let round = 1; round <= MAX_ROUNDS; round++) if (!(await this.#round())) return;
  }

  /** Resolves with true where another round may find more to do. */
  async #round(): Promise<boolean> {
    let again = false;
    let survey = await this.#survey();
    // Without a dirty bit, what is taken below must be counted at once.
    if (!survey.sound && this.#layout.version === 2) survey = await this.#rebuild(survey);
    if (survey.movesL1) {
      await moveActiveL1(survey.state, survey.space);
      survey = await this.#survey();
      again = true;
    }
    if (await this.#mendSnapshots(survey)) {
      survey = await this.#survey();
      again = true;
    }
    if (survey.mendable) {
      const { space } = survey;
      await this.#eachWindow(survey, async (state) => {
        if (await mendTables(state, space, this.#options)) again = true;
      });
      survey = await this.#survey();
    }
    if (!survey.sound) survey = await this.#rebuild(survey);
    const { space, shared } = survey;
    await this.#eachWindow(survey, async (state) => {
      await raiseRefcounts(state);
      if ((await mendFlags(state, space, shared)) > 0) again = true;
      if (this.#knowsAll(state)) await lowerRefcounts(state);
    });
    return again;
  }

  async #rebuild({ state: { clusterBytes }, space }: Survey): Promise<Survey> {
    const { refcountOrder } = this.#layout;
    const place = await rebuildRefcounts(this.#file, space, { clusterBytes, refcountOrder }, (visit) =>
      this.#countAll(visit, { refcounts: false }),
    );
    Object.assign(this.#layout, place);
    return this.#survey();
  }

  /** True where the snapshots were changed. */
  async #mendSnapshots({ state, space, sharedL1 }: Survey): Promise<boolean> {
    if (this.#snapshots === undefined) return false;
    const list = await mendSnapshots(state, space, this.#snapshots, sharedL1);
    if (list !== null) this.#snapshots = { list, gaveUp: false };
    return list !== null;
  }

  /** What no table refers to is not in use: the L1 tables of all snapshots could be read. */
  #knowsAll({ l1Tables }: CheckState): boolean {
    return l1Tables.length === 1 + (this.#layout.snapshots?.length ?? 0);
  }

  async leaks(): Promise<void> {
    const survey = await this.#survey();
    if (!this.#knowsAll(survey.state)) return;
    const { badBlocks } = survey.state;
    await this.#eachWindow(survey, async (state) => {
      for (const index of badBlocks) state.badBlocks.add(index);
      await lowerRefcounts(state);
      await mendFlags(state, survey.space, survey.shared, { onlySet: true });
    });
  }

  async #survey(): Promise<Survey> {
    const shared = new Set<ClusterIndex>();
    const sharedL1 = new Set<number>();
    let sound = true;
    let end = 0;
    let movesL1 = false;
    const { state, windows } = await this.#countAll(async (counted) => {
      if (!isSound(counted)) sound = false;
      if (isL1Misplaced(counted)) movesL1 = true;
      end = Math.max(end, usedEnd(counted));
      for (const cluster of sharedTables(counted)) shared.add(cluster);
      for (const index of sharedL1Tables(counted)) sharedL1.add(index);
    });
    const mendable = state.badEntries > 0 || state.overflowed.size > 0 || shared.size > 0;
    return { state, windows, space: new RepairSpace(state, end), sound, shared, sharedL1, movesL1, mendable };
  }

  /** Visits each window with its references; where there is one, they are those of the survey. */
  async #eachWindow({ state, windows }: Survey, visit: (state: CheckState) => Promise<void>): Promise<void> {
    if (windows === 1) await visit(state);
    else await this.#countAll(visit);
  }

  async #countAll(
    visit: (state: CheckState) => Promise<void>,
    how: { refcounts?: boolean } = {},
  ): Promise<{ state: CheckState; windows: number }> {
    const state = new CheckState(this.#file, this.#layout, () => undefined);
    const counter = new ReferenceCounter(state);
    await readTables(state);
    const windows = windowsOf(state, this.#options.windowClusters);
    for (const { start, size } of windows) {
      await countWindow(state, counter, start, size, how);
      await visit(state);
      state.first = false;
    }
    return { state, windows: windows.length };
  }
}
