// Gives unused space back: what lies behind the end that the file could have moves into the free clusters before it, and the file is cut there.
//
//   1  check            an image with errors is refused; lost space is given back
//   2  compact-drop     clusters whose content need not be stored become free
//   3  compact-map      what is in use, and so where the file could end
//      compact-tables   the tables that need clusters in a row move
//      compact-plan     window by window, from the end of the file down: what goes where
//      compact-batch    a few megabytes at a time are moved, while no request is under way; guests go on between
//   4  compact-blocks   refcount blocks that count nothing are dropped; the file is cut
//
// Nothing is written but what moves, and pointers and refcounts. What was moved is given back to the file system at once, so that no more space is needed than a batch takes.
// Killed at any moment, it has only to be run again.

import type { CheckResult, CompactControl, CompactOptions, CompactResult } from '../../../block/abilities.js';
import type { CheckFinding } from '../../../block/finding.js';
import { bestEffort } from '../../../util/best-effort.js';
import type { DirectoryOnDisk } from './bitmap-on-disk.js';
import { BatchMover } from './compact-batch.js';
import { countedBehindEnd, dropBlocks, endOfUse, type Lost, lowestEnd } from './compact-blocks.js';
import { type Droppable, type DropSettings, dropFound, lookAtTable, partsOf } from './compact-drop.js';
import { CompactMap, type Dropped, FREE, WINDOW_CLUSTERS, type Window } from './compact-map.js';
import { CompactPlan, type Move } from './compact-plan.js';
import { moveTable, planTables, type TableMove } from './compact-tables.js';
import { cutFile } from './empty.js';
import { Incompatible } from './header.js';
import type { Qcow2Image } from './image.js';
import type { ClusterIndex } from './types.js';

/** What one batch moves at most, and how much of the L2 tables that point to it is held in memory; bytes. */
const BATCH_BYTES = 8 << 20;
/** References that are taken from a lost cluster one by one. */
const MAX_LOWERED = 256;
/** Guests may fill what was just won: after so many passes it is enough. */
const MAX_PASSES = 4;

/** The node of the image. */
export interface CompactOwner {
  readonly bitmaps: DirectoryOnDisk;
  /**
   * Runs `action` while no request is under way, and nothing of the bitmaps is being written. Rejects with `read-only`, and with `busy` where an amend has put
   * another image in the place of this one.
   */
  alone<T>(action: () => Promise<T>): Promise<T>;
  /** Runs `action`, which reads tables, as a request: what runs alone waits for it, and it for that. Rejects with `busy` as `alone`. */
  reading<T>(action: () => Promise<T>): Promise<T>;
  check(report: (finding: CheckFinding) => void): Promise<CheckResult>;
  /** Inside `alone`. */
  repairLeaks(): Promise<unknown>;
}

/** Gives the unused space of the image back; in a dry run, says what that would do. Rejects with `busy`, `corrupt-image`, `unsupported`, `limit`, `no-space`, `io`, and as `control`. */
export async function compactImage(
  image: Qcow2Image,
  owner: CompactOwner,
  options: CompactOptions,
  control: CompactControl,
): Promise<CompactResult> {
  checkCompactable(image, options);
  if (options.dryRun) return new DryRun(image, owner, options, control).run();
  if (underWay.has(image)) throw image.error('busy', 'The image is being compacted already', 'compact');
  underWay.add(image);
  try {
    return await new Run(image, owner, options, control).run();
  } finally {
    underWay.delete(image);
  }
}

/** Images that are being compacted: two at once would not know of each other's places. */
const underWay = new WeakSet<Qcow2Image>();

function checkCompactable(image: Qcow2Image, { dryRun, dedupeBacking }: CompactOptions): void {
  image.checkUsable();
  if ((image.header.incompatibleFeatures & Incompatible.dirty) !== 0n && dryRun && !image.writable()) {
    throw image.error('corrupt-image', 'The image was not closed properly: its refcounts are not known', 'compact');
  }
  if (dedupeBacking && image.backing() === null) {
    throw image.error('invalid-argument', 'The image has no backing file to compare with', 'compact');
  }
  if (dedupeBacking && image.data.isExternal) {
    const message = 'The content lies in an external data file: nothing of it is compared with the backing file';
    throw image.error('invalid-argument', message, 'compact');
  }
}

/** Clusters that a dry run takes for dropped. */
class DroppedOnes implements Dropped {
  readonly #tables = new Map<number, Droppable>();

  add(found: Droppable): void {
    this.#tables.set(found.index, found);
  }

  has(index: number, slot: number): boolean {
    return (this.#tables.get(index)?.fates[slot] ?? 0) !== 0;
  }

  hasTable(index: number): boolean {
    return this.#tables.get(index)?.empty === true;
  }

  /** Marks what they free. */
  freeIn(image: Qcow2Image, { states }: CompactMap): void {
    const { clusterSize } = image.geometry;
    for (const { index, clusters, empty } of this.#tables.values()) {
      for (const cluster of clusters) states[cluster] = FREE;
      if (empty) states[image.mapping.l1.target(index) / clusterSize] = FREE;
    }
  }
}

/** What both have in common. */
abstract class Compaction {
  protected readonly image: Qcow2Image;
  protected readonly owner: CompactOwner;
  protected readonly control: CompactControl;
  protected readonly result: CompactResult;
  readonly #options: CompactOptions;

  constructor(image: Qcow2Image, owner: CompactOwner, options: CompactOptions, control: CompactControl) {
    this.image = image;
    this.owner = owner;
    this.control = control;
    this.#options = options;
    const { length } = image.file;
    this.result = { before: length, after: length, moved: 0, dropped: 0, leaked: 0 };
  }

  /** Counts what is wrong; `leak` is called with each cluster whose refcount is too high, and how many references it has. */
  protected async check(leak: (cluster: number, references: number, refcount: number) => void): Promise<void> {
    const { checkErrors, corruptions } = await this.owner.check((finding) => {
      const { kind, cluster = 0, references = 0, refcount = 0 } = finding;
      if (kind !== 'leaked-cluster') return;
      this.result.leaked++;
      leak(cluster, references, Number(refcount));
    });
    if (corruptions > 0) {
      const message = 'The image has errors, which must be repaired before it is compacted';
      throw this.image.error('corrupt-image', message, 'compact');
    }
    if (checkErrors > 0) throw this.image.error('io', 'The image could not be checked as a whole', 'compact');
  }

  /** Looks for what can be dropped, and gives it to `drop`, table by table. */
  protected async eachDroppable(
    own: ReadonlySet<number>,
    drop: (found: Droppable, settings: DropSettings) => Promise<void>,
  ): Promise<void> {
    const { image, control, owner } = this;
    const { dedupeBacking, keepZeroes } = this.#options;
    // Content in a file of its own takes no space here.
    if (image.data.isExternal || (keepZeroes && !dedupeBacking)) return;
    const settings: DropSettings = {
      zeroes: !keepZeroes,
      backing: dedupeBacking === true,
      own,
      // A job that is paused must not be a request that is under way.
      read: (bytes, action) => control.work(bytes, () => owner.reading(action)),
    };
    for (let index = 0; index < image.mapping.l1.entries; index++) {
      const found = await lookAtTable(image, index, settings);
      if (found !== null) await drop(found, settings);
    }
  }

  /** Plans a window after the other, from the end of the file down, and gives the moves of each to `move`, as long as that resolves with true. */
  protected async eachWindow(
    map: CompactMap,
    move: (moves: readonly Move[], window: Window, plan: CompactPlan) => Promise<boolean>,
  ): Promise<void> {
    const { image } = this;
    const { clusterSize } = image.geometry;
    const { limit, keptBlocks } = lowestEnd(image, map);
    const bits = new Set(this.owner.bitmaps.bits.map((host) => host / clusterSize));
    const plan = new CompactPlan(image, map, { limit, keptBlocks, holdsBits: (cluster) => bits.has(cluster) });
    for (let end = map.states.length; end > limit; ) {
      const window = await map.collect(Math.max(limit, end - WINDOW_CLUSTERS), end);
      const moves = plan.plan(window);
      if (moves.length > 0 && !(await move(moves, window, plan))) return;
      end = window.first;
    }
  }

  /** The states after these moves. */
  protected note(map: CompactMap, moves: readonly Move[]): void {
    for (const { kind, from, to } of moves) {
      if (kind === 'packed') continue;
      map.states[from] = FREE;
      const block = map.blocks.get(from);
      if (block === undefined) continue;
      map.blocks.delete(from);
      map.blocks.set(to, block);
    }
  }
}

class DryRun extends Compaction {
  async run(): Promise<CompactResult> {
    const { image, owner, result } = this;
    const lost: number[] = [];
    const own = new Set<number>();
    const dropped = new DroppedOnes();
    const check = (): Promise<void> =>
      this.check((cluster, references) => {
        if (references === 0) lost.push(cluster);
        if (references === 1) own.add(cluster);
      });
    const checkQuiet = async (): Promise<void> => {
      await image.quiet();
      await check();
    };
    // Of an image that is being changed, what the tables say would not fit together.
    await (image.writable() ? owner.alone(checkQuiet) : check());
    await this.eachDroppable(own, async (found) => {
      result.dropped += found.clusters.length * image.geometry.clusterSize;
      dropped.add(found);
    });
    const map = await owner.reading(() => CompactMap.read(image, dropped));
    for (const cluster of lost) map.states[cluster] = FREE;
    dropped.freeIn(image, map);
    const { limit } = lowestEnd(image, map);
    for (const { count } of planTables(image, map, owner.bitmaps, limit)) {
      result.moved += count * image.geometry.clusterSize;
    }
    await this.eachWindow(map, async (moves, window, plan) => {
      for (const move of moves) result.moved += move.kind === 'packed' ? move.bytes : image.geometry.clusterSize;
      this.note(map, moves);
      freePacked(image, map, window, moves, plan);
      return true;
    });
    result.after = Math.min(result.before, endOfUse(image, map) * image.geometry.clusterSize);
    return result;
  }
}

/** Notes which clusters are free once compressed data has moved: those that no other data reaches into. */
function freePacked(
  image: Qcow2Image,
  map: CompactMap,
  window: Window,
  moves: readonly Move[],
  plan: CompactPlan,
): void {
  const { clusterSize } = image.geometry;
  const { first, end, compressed, hosts, owners } = window;
  const left = new Int32Array(end - first);
  const touched = new Uint8Array(end - first);
  const count = (host: number, bytes: number, by: number): void => {
    const last = Math.min(end - 1, Math.floor((host + bytes - 1) / clusterSize));
    for (let at = Math.max(first, Math.floor(host / clusterSize)); at <= last; at++) {
      left[at - first] += by;
      touched[at - first] = 1;
    }
  };
  for (let i = 0; i < owners.length; i++) {
    if (compressed[i] > 0 && !plan.wasPlanned(owners[i], window)) count(hosts[i], compressed[i], 1);
  }
  for (const move of moves) if (move.kind === 'packed') count(move.from, move.bytes, -move.owners.length);
  for (let at = first; at < end; at++) if (touched[at - first] === 1 && left[at - first] === 0) map.states[at] = FREE;
}

class Run extends Compaction {
  async run(): Promise<CompactResult> {
    const { image, owner, result } = this;
    await owner.alone(() => this.#freeLost());
    try {
      await this.#compact();
    } catch (error) {
      // Also of one that is cancelled, or that fails: for that reason, whatever comes of this.
      if (image.broken === null) await owner.alone(() => this.#end()).catch(bestEffort('the end of a compact'));
      throw error;
    }
    await owner.alone(() => this.#end());
    result.after = image.file.length;
    return result;
  }

  async #compact(): Promise<void> {
    const { image, owner, control, result } = this;
    await this.eachDroppable(new Set(), async (found, settings) => {
      // Guests wait meanwhile: a few megabytes at a time.
      const { clusterSize } = image.geometry;
      for (const part of partsOf(found, Math.max(1, BATCH_BYTES / clusterSize))) {
        const free = await control.work(0, () => owner.alone(() => dropFound(image, part, settings)));
        result.dropped += free * clusterSize;
      }
    });
    for (let pass = 0; pass < MAX_PASSES && (await this.#pass()); pass++);
  }

  /** Checks the image, and frees what nothing refers to. A refcount that is too high for what does takes a repair, as entries may need another flag. */
  async #freeLost(): Promise<void> {
    const { image, owner } = this;
    await image.quiet();
    const lost: Lost[] = await countedBehindEnd(image);
    const behind = lost.length;
    await this.check((cluster, references, refcount) => {
      if (references === 0) lost.push({ cluster: cluster as ClusterIndex, refcount });
    });
    const lowered = lost.filter(({ refcount }) => refcount <= MAX_LOWERED);
    for (const { cluster, refcount } of lowered) for (let i = 0; i < refcount; i++) image.frees.add(cluster, 1, true);
    await image.quiet();
    if (lowered.length < behind + this.result.leaked) await owner.repairLeaks();
  }

  async #map(): Promise<CompactMap> {
    await this.owner.alone(() => this.image.quiet());
    return this.owner.reading(() => CompactMap.read(this.image));
  }

  /** Moves what can be moved. True where something stayed because it had changed meanwhile: another pass may move that. */
  async #pass(): Promise<boolean> {
    const { image, owner, control, result } = this;
    const { clusterSize } = image.geometry;
    const before = result.moved;
    let planned = 0;
    let map = await this.#map();
    const { limit } = lowestEnd(image, map);
    if (limit >= endOfUse(image, map)) return false;
    const tables = planTables(image, map, owner.bitmaps, limit);
    for (const table of tables) {
      planned += table.count * clusterSize;
      result.moved += await this.#moveTable(table);
    }
    if (tables.length > 0) map = await this.#map();
    const mover = new BatchMover(image, map, owner.bitmaps);
    const { refcounts } = image;
    const { onFree } = refcounts;
    refcounts.onFree = (cluster) => {
      onFree(cluster);
      mover.freed(cluster);
    };
    try {
      await this.eachWindow(map, async (moves) => {
        const total = moves.reduce((sum, move) => sum + bytesOf(move, clusterSize), 0);
        planned += total;
        control.expect(total);
        for (const batch of this.#batches(moves)) {
          if (image.snapshots.list !== map.snapshots) return false;
          const bytes = batch.reduce((sum, move) => sum + bytesOf(move, clusterSize), 0);
          result.moved += await control.work(bytes, () =>
            owner.alone(async () => (image.snapshots.list === map.snapshots ? mover.run(batch) : 0)),
          );
        }
        this.note(map, moves);
        return true;
      });
    } finally {
      refcounts.onFree = onFree;
    }
    return result.moved - before < planned;
  }

  #moveTable(table: TableMove): Promise<number> {
    const { image, owner, control } = this;
    const bytes = table.count * image.geometry.clusterSize;
    control.expect(bytes);
    return control.work(bytes, () => owner.alone(() => moveTable(image, owner.bitmaps, table)));
  }

  /** Parts of `moves` that are moved at once: of one kind, and with not too many L2 tables to be changed. */
  *#batches(moves: readonly Move[]): Generator<Move[]> {
    const { clusterSize, l2Entries } = this.image.geometry;
    let batch: Move[] = [];
    let bytes = 0;
    const tables = new Set<number>();
    for (const move of moves) {
      const isOther = batch.length > 0 && batch[0].kind !== move.kind;
      if (isOther || bytes >= BATCH_BYTES || tables.size * clusterSize >= BATCH_BYTES) {
        yield batch;
        batch = [];
        bytes = 0;
        tables.clear();
      }
      batch.push(move);
      bytes += bytesOf(move, clusterSize);
      for (const owner of move.owners) tables.add(Math.floor(owner / l2Entries));
    }
    if (batch.length > 0) yield batch;
  }

  async #end(): Promise<void> {
    const { image } = this;
    await image.quiet();
    await dropBlocks(image, endOfUse(image, await CompactMap.read(image)));
    await cutFile(image);
    image.allocation.refresh();
  }
}

function bytesOf(move: Move, clusterSize: number): number {
  return move.kind === 'packed' ? move.bytes : clusterSize;
}
