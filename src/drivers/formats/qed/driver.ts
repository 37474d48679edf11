// qed: QEMU's enhanced disk. Two levels of tables place its clusters (blocks/two-level-table.ts); new ones go to the end of the file.
//
// While clusters are being allocated, the header says that the image is to be checked (`needCheck`): from before the first one until all is in the file, that is until it is closed, or a
// flush has found nothing new. Our own order of writes leaves lost space at worst. Who opens such an image for writing repairs it first.

import type { Abilities, CheckResult, RepairKind, RepairResult } from '../../../block/abilities.js';
import { formatNodeName } from '../../../block/filename.js';
import type { CheckFinding } from '../../../block/finding.js';
import type { Graph } from '../../../block/graph.js';
import type { BlockNode, NodeOptions } from '../../../block/node/node.js';
import type { NodeChange, PreparedReopen } from '../../../block/node/reopening.js';
import type { Permissions } from '../../../block/roles.js';
import type { TruncateOptions } from '../../../block/types.js';
import { putViewLe64, viewLe64 } from '../../../util/bytes.js';
import { BlockError, type BlockErrorCode } from '../../../util/errors.js';
import { SECTOR_BYTES } from '../../../util/numbers.js';
import { ImageFile } from '../../image-file.js';
import { Commits } from '../blocks/commits.js';
import { BlocksNode } from '../blocks/node.js';
import { badEntry } from '../blocks/pages.js';
import { HOLE, ZERO } from '../blocks/places.js';
import { unlessFull } from '../blocks/space.js';
import { type Pointers, TwoLevelTable } from '../blocks/two-level-table.js';
import { checkQed } from './check.js';
import {
  ENTRY_BYTES,
  Feature,
  isInside,
  maxDiskBytes,
  parseHead,
  tableEntries,
  UNALLOCATED,
  ZERO_ENTRY,
} from './header.js';
import { HeaderStore } from './header-store.js';
import { fillLeaks, type Repaired, repairEntries } from './repair.js';
import { QedSpace } from './space.js';

export class QedNode extends BlocksNode {
  override readonly driver = 'qed';
  override readonly filename: string;
  override readonly blockBytes: number;
  override readonly hasZeroBlocks = true;
  override readonly file: ImageFile;
  override readonly tables: TwoLevelTable;
  override readonly space: QedSpace;
  readonly #store: HeaderStore;
  readonly #commits: Commits;
  /** The mark `needCheck` is durable. */
  #isMarked = false;
  #marking: Promise<void> | null = null;

  /** `head`: what `readHead` has read of `file`. Throws as `parseHead`. */
  constructor(graph: Graph, node: NodeOptions, file: BlockNode, head: Uint8Array, permissions: Permissions) {
    super(graph, node);
    this.filename = formatNodeName(this.driver, {}, file);
    const { header, backingFile } = parseHead(head, file.length, file.filename);
    this.blockBytes = header.clusterBytes;
    this.length = header.size;
    this.backingFile = backingFile;
    this.backingFormat = backingFile !== null && (header.features & Feature.backingIsRaw) !== 0 ? 'raw' : null;
    this.setChild('file', file, 'image', permissions);
    this.file = new ImageFile(() => this.primary!);
    this.#store = new HeaderStore(this.file, head, header);
    this.space = new QedSpace(this.file, header, () => this.#mark());
    const entries = tableEntries(header);
    const place = { offset: header.l1Offset, entries, tableEntries: entries };
    this.tables = new TwoLevelTable(this.file, this.#pointers(), place, this.space);
    this.#commits = new Commits({
      file: this.file,
      levels: this.tables.levels,
      prepare: async (hasEntries) => {
        if (hasEntries) await this.#mark();
      },
    });
  }

  #pointers(): Pointers {
    const { header } = this.#store;
    return {
      bytes: ENTRY_BYTES,
      table: (view, at, index) => {
        const entry = viewLe64(view, at);
        if (entry === UNALLOCATED) return HOLE;
        if (isInside(header, entry, header.tableClusters, this.file.length)) return entry;
        throw badEntry(this.filename, `L1 entry ${index} points to no place of an L2 table`, entry);
      },
      putTable: (view, at, offset) => putViewLe64(view, at, offset === HOLE ? UNALLOCATED : offset),
      place: (view, at, index) => {
        const entry = viewLe64(view, at);
        if (entry === UNALLOCATED) return HOLE;
        if (entry === ZERO_ENTRY) return ZERO;
        if (isInside(header, entry, 1, this.file.length)) return entry;
        throw badEntry(this.filename, `L2 entry of cluster ${index} points to no place of a cluster`, entry);
      },
      putPlace: (view, at, place) =>
        putViewLe64(view, at, place === HOLE ? UNALLOCATED : place === ZERO ? ZERO_ENTRY : place),
    };
  }

  #mark(): Promise<void> | undefined {
    if (this.#isMarked) return undefined;
    this.#marking ??= this.#store
      .setFeature(Feature.needCheck, true)
      .then(() => {
        this.#isMarked = true;
      })
      .finally(() => {
        this.#marking = null;
      });
    return this.#marking;
  }

  async #unmark(): Promise<void> {
    if (!this.#isMarked) return;
    await this.file.cut(this.file.usedEnd);
    // Whoever takes a cluster from here on marks the image again.
    this.#isMarked = false;
    await this.#store.setFeature(Feature.needCheck, false);
  }

  /** What was not closed properly is repaired, and features that nobody knows are cleared. Rejects with `io`, `no-space`, `limit`. */
  async becomeWritable(): Promise<void> {
    if (this.#store.has(Feature.needCheck)) {
      this.#isMarked = true;
      await repairEntries(this.#repaired(), 'all');
      await this.#unmark();
    }
    if (this.#store.header.autoclearFeatures !== 0n) await this.#store.set({ autoclearFeatures: 0n });
  }

  override commit(): Promise<void> {
    return this.#commits.commit();
  }

  protected override async doFlush(): Promise<void> {
    const isIdle = !this.space.taken;
    this.space.taken = false;
    await super.doFlush();
    if (!this.readOnly && isIdle && this.tables.changedBytes === 0) await this.#unmark();
  }

  override get abilities(): Abilities {
    return {
      // QEMU calls no image of this format dirty.
      details: () => ({ clusterSize: this.blockBytes, dirty: false }),
      check: (report) => this.#check(report),
      repair: (kind, report) => this.alone('repair', () => this.#repair(kind, report)),
    };
  }

  async #check(report: (finding: CheckFinding) => void): Promise<CheckResult> {
    if (!this.readOnly) {
      await this.commit();
      await this.file.trim();
    }
    return checkQed(this.file, this.#store.header, report);
  }

  async #repair(kind: RepairKind, report: (finding: CheckFinding) => void): Promise<RepairResult> {
    const { header } = this.#store;
    await this.commit();
    await this.file.trim();
    const before = await checkQed(this.file, header, report, kind);
    this.tables.clear();
    if (before.corruptions > 0) await repairEntries(this.#repaired(), kind);
    let after = await checkQed(this.file, header, () => undefined);
    if (after.corruptions === 0) {
      // A header that says it has no cluster has one: it begins the file.
      if (header.headerClusters === 0) await this.#store.set({ headerClusters: 1 });
      if (after.leaks > 0) await fillLeaks(this.#repaired());
      this.#isMarked ||= this.#store.has(Feature.needCheck);
      await this.#unmark();
      after = await checkQed(this.file, header, () => undefined);
    }
    this.tables.clear();
    return { before, after };
  }

  #repaired(): Repaired {
    return {
      file: this.file,
      header: this.#store.header,
      table: this.tables,
      space: this.space,
      commit: () => this.commit(),
    };
  }

  protected override async doTruncate(size: number, { preallocation = 'off' }: TruncateOptions): Promise<void> {
    const refuse = (code: BlockErrorCode, message: string): never => {
      throw BlockError.at(this.filename, code, message, { operation: 'resize' });
    };
    if (preallocation !== 'off') refuse('unsupported', `Unsupported preallocation mode '${preallocation}'`);
    if (size % SECTOR_BYTES !== 0 || size > maxDiskBytes(this.#store.header)) {
      refuse('invalid-argument', 'Invalid image size specified');
    }
    if (size < this.length) refuse('unsupported', 'Shrinking images is currently not supported');
    if (size > this.length && this.cow !== null && this.cow.length > this.length) {
      refuse('unsupported', 'Block driver does not support requested flags');
    }
    await this.#zeroFrom(this.length, size);
    await this.commit();
    await this.#store.set({ size });
  }

  /** What lies in [from, to) beyond the end of the disk is zeroes: another program may have left something there. */
  async #zeroFrom(from: number, to: number): Promise<void> {
    const { blockBytes, tables } = this;
    const perTable = tableEntries(this.#store.header);
    const last = Math.ceil(to / blockBytes) - 1;
    for (let index = Math.floor(from / blockBytes); index <= last; ) {
      await tables.load(index);
      const place = tables.place(index);
      if (place === undefined) continue;
      if (tables.table(Math.floor(index / perTable)) === HOLE) {
        index = (Math.floor(index / perTable) + 1) * perTable;
        continue;
      }
      if (place >= 0) {
        const within = Math.max(0, from - index * blockBytes);
        await this.file.writeZeroes(place + within, blockBytes - within);
      }
      index++;
    }
  }

  override checkBackingChange(file: string | null, _format: string | null): void {
    if (file !== null) this.#store.checkName(file);
  }

  protected override doChangeBackingFile(file: string | null, format: string | null): Promise<void> {
    return this.#store.setBacking(file, format === 'raw');
  }

  override async prepareReopen({ readOnly = this.readOnly }: NodeChange): Promise<PreparedReopen | null> {
    if (!this.readOnly && readOnly) await this.#finish(false);
    if (!this.readOnly || readOnly) return null;
    return { commit: () => undefined, complete: () => this.becomeWritable(), revert: () => undefined };
  }

  /** All is in the file, which is no longer than it need be, and says so. `closes`: no read that was located can still go to a cluster, so that it may be moved. */
  async #finish(closes: boolean): Promise<void> {
    await this.commit();
    const gaps = this.space.settle();
    await this.file.trim();
    if (gaps > 0 && closes) await unlessFull(() => this.#fillGaps(gaps));
    await this.#unmark();
  }

  /**
   * A copy takes clusters ahead, and gives those back that turn out to be zeroes: what is left of them is filled. Other leaks were there before, and are for a repair, as errors are.
   */
  async #fillGaps(gaps: number): Promise<void> {
    const { corruptions, leaks } = await checkQed(this.file, this.#store.header, () => undefined);
    if (corruptions > 0 || leaks !== gaps) return;
    try {
      await fillLeaks(this.#repaired());
    } finally {
      this.tables.clear();
    }
  }

  protected override async doClose(): Promise<void> {
    try {
      if (!this.readOnly) await this.#finish(true);
    } finally {
      this.tables.clear();
    }
  }
}
