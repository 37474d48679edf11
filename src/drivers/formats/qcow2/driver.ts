// qcow2: the node. It answers the hot path (`locate`) from cached tables, and passes every other request to the part of the driver that does it:
// see image.ts for the parts. Specification: docs/interop/qcow2 of QEMU.

import type { Abilities, CheckResult, PreparedAmend, RepairKind, RepairResult } from '../../../block/abilities.js';
import type { Child } from '../../../block/child.js';
import type { CheckFinding } from '../../../block/finding.js';
import type { Graph } from '../../../block/graph.js';
import { FormatNode } from '../../../block/node/format.js';
import type { BlockNode, NodeOptions } from '../../../block/node/node.js';
import type { NodeChange, PreparedReopen } from '../../../block/node/reopening.js';
import type { Permissions } from '../../../block/roles.js';
import type {
  BlockStatus,
  Compression,
  Located,
  MovePlace,
  TruncateOptions,
  WriteFlags,
  ZeroFlags,
} from '../../../block/types.js';
import type { ZeroScan } from '../../../host/host.js';
import type { BlockdevDiscardOptions } from '../../../schema/generated/types.js';
import { BlockError, toBlockError } from '../../../util/errors.js';
import { roundDown } from '../../../util/numbers.js';
import type { SlotPlace } from '../luks/amend.js';
import type { Qcow2AmendOptions } from './amend.js';
import { prepareAmend } from './amend-steps.js';
import type { DirectoryPlace } from './bitmap-directory.js';
import { checkNewBitmap } from './bitmap-limits.js';
import { type BitmapOwner, BitmapStore } from './bitmap-store.js';
import { type LoadedBitmaps, loadBitmaps } from './bitmaps.js';
import { checkQcow2 } from './check.js';
import type { CheckLayout } from './check-state.js';
import { type CompactOwner, compactImage } from './compact.js';
import { writeCompressed } from './compressed-write.js';
import type { ImageEncryption } from './crypt.js';
import { type FoundDamage, readDamaged } from './damage.js';
import { emptyImage } from './empty.js';
import { checkFeatures } from './features.js';
import {
  Autoclear,
  Extension,
  extensionText,
  geometryOf,
  type HeaderArea,
  Incompatible,
  KNOWN_AUTOCLEAR,
  parseHeader,
  parseHeaderArea,
} from './header.js';
import { checkBackingHeader, setBackingHeader } from './header-update.js';
import { Qcow2Image } from './image.js';
import { ImageFile } from './image-file.js';
import { qcow2Details } from './info.js';
import { locateRead, locateWrite } from './locate.js';
import { storeAll } from './lost.js';
import { prepareMove } from './move.js';
import { cacheTables, checkOptions, type DriverOptions, discardPolicy, overlapKinds } from './options.js';
import { readGuest } from './read.js';
import { repairDirty, repairImage } from './repair-image.js';
import { checkedSnapshots } from './repair-snapshots.js';
import { resizeImage } from './resize.js';
import { SnapshotDesk } from './snapshot-desk.js';
import { statusOf, statusSync } from './status.js';
import { type GuestExtent, type GuestOffset, SECTOR } from './types.js';
import { writeGuest, writeInPlace } from './write.js';
import { discardGuest, zeroGuest } from './zero.js';

/** The child that an external data file is. */
export const DATA_FILE = 'data-file';

export class Qcow2Node extends FormatNode {
  override readonly driver = 'qcow2';
  override readonly filename: string;
  #image: Qcow2Image;
  #own: DriverOptions;
  readonly #encryption: ImageEncryption | null;
  readonly #snapshots: SnapshotDesk;
  #stored: BitmapStore;
  /** Of an image that was opened to be repaired. */
  #damage: FoundDamage | null = null;

  /**
   * `area` is the parsed and checked header of `file`, `head` the bytes that it was parsed from. `dataFile`: the external data file; null where the image has
   * none, and where only its header will be looked at. `encryption` is the image's own from now on: its cipher is closed with the node.
   */
  constructor(
    graph: Graph,
    options: NodeOptions,
    own: DriverOptions,
    file: BlockNode,
    dataFile: BlockNode | null,
    encryption: ImageEncryption | null,
    area: HeaderArea,
    head: Uint8Array,
    permissions: Permissions,
  ) {
    super(graph, options);
    this.#own = own;
    this.#encryption = encryption;
    if (encryption !== null) this.requestAlignment = SECTOR;
    this.filename = file.filename;
    this.length = area.header.size;
    this.backingFile = area.backingFile;
    this.backingFormat = extensionText(area.extensions, Extension.backingFormat);
    const isExternal = (area.header.incompatibleFeatures & Incompatible.dataFile) !== 0n;
    this.setChild('file', file, isExternal ? 'metadata' : 'image', permissions);
    if (dataFile !== null) this.setChild(DATA_FILE, dataFile, 'data', permissions);
    this.#image = this.#makeImage(area, head);
    this.#stored = new BitmapStore(this.#image, this.#bitmapOwner(), { directory: null, kept: [] });
    this.#snapshots = this.#makeDesk();
  }

  /** The image with this header in memory, without its tables. */
  #makeImage(area: HeaderArea, head: Uint8Array): Qcow2Image {
    const { graph } = this;
    const { incompatibleFeatures } = area.header;
    const isExternal = (incompatibleFeatures & Incompatible.dataFile) !== 0n;
    const content = this.children.get(DATA_FILE)?.node.length ?? 0;
    return new Qcow2Image(
      graph.host,
      new ImageFile(() => this.primary!),
      isExternal ? new ImageFile(() => this.#dataLink(), content) : null,
      this.#encryption?.content ?? null,
      area,
      head.slice(0, SECTOR),
      {
        caches: cacheTables(this.#own, geometryOf(area.header), area.header),
        overlapKinds: overlapKinds(this.#own),
        discards: discardPolicy(this.#own, this.discardMode),
      },
      {
        backing: () => this.cow,
        writable: () => !this.readOnly,
        length: () => this.length,
        corrupted: (what) =>
          graph.events.emit('BLOCK_IMAGE_CORRUPTED', {
            device: graph.deviceOf(this) ?? '',
            'node-name': this.nodeName,
            ...what,
          }),
      },
    );
  }

  #makeDesk(): SnapshotDesk {
    return new SnapshotDesk({
      image: () => this.#image,
      checkResizable: (size) => this.#stored.checkResizable(size),
      alone: (action) => this.alone('snapshot', action),
      changingAll: (action) => this.#stored.resizing(action),
      resized: (size) => this.#becomeOfSize(size),
      shows: (size) => {
        this.length = size;
        // They say what was written to the disk.
        this.bitmaps.clear();
      },
    });
  }

  /** This node, as the store of its bitmaps sees it. */
  #bitmapOwner(): BitmapOwner {
    const node = this;
    return {
      bitmaps: this.bitmaps,
      clusterSize: this.#image.geometry.clusterSize,
      get readOnly() {
        return node.readOnly;
      },
      requestsPassed: () => (this.inFlight > 0 ? this.passed() : null),
      guardedBy: (guard) => {
        this.bitmapGuard = guard;
      },
    };
  }

  #dataLink(): Child {
    const link = this.children.get(DATA_FILE);
    if (link !== undefined) return link;
    throw BlockError.at(this.filename, 'bad-state', 'the image was opened without its data file', {
      operation: 'access',
    });
  }

  /** All content has changed, perhaps the size, too. */
  #becomeOfSize(size: number): void {
    this.length = size;
    for (const bitmap of this.bitmaps.values()) {
      bitmap.truncate(size);
      bitmap.record(0, size);
    }
  }

  /**
   * Reads the L1 and refcount tables, the list of snapshots, and the bitmaps. An image that is to be written, and was not closed properly, is repaired before, but where it was
   * opened `forRepair`. Rejects with `io`, `invalid-image`, `corrupt-image`, `unsupported`, `limit`.
   */
  async load(forRepair: boolean): Promise<void> {
    const { mapping, refcounts } = this.#image;
    await mapping.load();
    await refcounts.load();
    const owner = this.#bitmapOwner();
    const loaded = forRepair ? await this.#loadDamaged(owner) : await this.#loadWhole(owner);
    for (const { bitmap } of loaded.kept) this.bitmaps.set(bitmap.name!, bitmap);
    this.#stored = new BitmapStore(this.#image, owner, loaded);
    if (!this.readOnly && !forRepair) await this.#becomeWritable();
  }

  async #loadWhole(owner: BitmapOwner): Promise<LoadedBitmaps> {
    await this.#image.readSnapshots();
    return loadBitmaps(this.#image.file, this.#area(), owner, this.graph.warn);
  }

  async #loadDamaged(owner: BitmapOwner): Promise<LoadedBitmaps> {
    this.#damage = await readDamaged(this.#image, this.#area(), owner, this.graph.warn);
    return this.#damage.salvaged;
  }

  /**
   * Prepares the image for its first change: what was not closed properly is repaired, the index of metadata is made, and the autoclear bits that Diskwright
   * does not know are cleared.
   */
  async #becomeWritable(): Promise<void> {
    const image = this.#image;
    if ((image.header.incompatibleFeatures & Incompatible.dirty) !== 0n) {
      await repairDirty(image, this.primary!, this.#checkLayout(), this.graph.warn);
    }
    image.indexMetadata();
    await image.indexInactive();
    await this.#stored.verify();
    // `headerDirty` is set where an earlier attempt failed.
    if (image.headerDirty || (image.header.autoclearFeatures & ~KNOWN_AUTOCLEAR) !== 0n) {
      image.header.autoclearFeatures &= KNOWN_AUTOCLEAR;
      await image.committer.writeHeader();
    }
  }

  /** Clusters that were allocated ahead decrypt to anything but zeroes. */
  override get zeroWhenNew(): boolean {
    return super.zeroWhenNew && (this.#encryption === null || this.host.memory.isZero(this.#image.mapping.l1.bytes));
  }

  override get clusterBytes(): number {
    return this.#image.geometry.clusterSize;
  }

  override get compression(): Compression {
    return 'taken';
  }

  override expectWrites(bytes: number): void {
    super.expectWrites(bytes);
    const { data, file } = this.#image;
    // An external data file has its size already.
    if (!data.isExternal && Number.isSafeInteger(bytes) && bytes >= 0) file.expect(bytes);
  }

  protected override doLocate(offset: GuestOffset, length: number, write: boolean, into: Located): boolean {
    return write ? locateWrite(this.#image, offset, length, into) : locateRead(this.#image, offset, length, into);
  }

  protected override doPrepareMove(extents: readonly GuestExtent[], granule: number): Promise<MovePlace | null> {
    return prepareMove(this.#image, extents, granule);
  }

  override get abilities(): Abilities {
    return {
      details: () => qcow2Details(this.#area(), this.#stored.list, this.#encryption?.info() ?? null),
      check: (report) => this.#check(report),
      repair: (kind, report) => this.#repair(kind, report),
      snapshots: this.#snapshots,
      amend: { prepare: (options) => this.#prepareAmend(options) },
      ...this.#slotAbility(),
      compact: (options, control) => compactImage(this.#image, this.#compactOwner(), options, control),
      bitmaps: {
        storable: this.#image.geometry.version > 2,
        checkNew: (name, granularity) => checkNewBitmap(this.#image, this.bitmaps, name, granularity),
        store: () => this.#asRequest(() => this.#stored.store()),
      },
    };
  }

  #compactOwner(): CompactOwner {
    const [image, stored] = [this.#image, this.#stored];
    const checkIsThere = (): void => {
      if (this.#image === image && this.#stored === stored) return;
      throw image.error('busy', 'The image was amended, or repaired, meanwhile', 'compact');
    };
    return {
      bitmaps: stored.onDisk,
      alone: (action) =>
        this.alone('compact', () => {
          checkIsThere();
          return stored.quiet(async () => {
            // What a switch that failed has left is not free before the header is known.
            await stored.onDisk.settle();
            return action();
          });
        }),
      reading: (action) =>
        this.#asRequest(async () => {
          checkIsThere();
          return action();
        }),
      check: (report) => checkQcow2(this.primary!, this.#checkLayout(), report),
      repairLeaks: () => this.#repairAlone('leaks', () => undefined),
    };
  }

  #slotAbility(): Pick<Abilities, 'keySlots'> {
    const { slots = null, region = null } = this.#encryption ?? {};
    if (slots === null || region === null) return {};
    // An amend puts another image in the place of this one.
    const file = () => this.#image.file;
    const place: SlotPlace = {
      read: (offset, buffer) => file().read(region.offset + offset, buffer),
      write: (offset, bytes) => file().write(region.offset + offset, bytes),
      flush: () => file().flush(),
    };
    return { keySlots: (change) => this.#asRequest(() => slots.change(place, change)) };
  }

  /** Runs `action`, which changes the image and is no guest's request: it waits for what runs alone, and that waits for it. */
  async #asRequest<T>(action: () => Promise<T>): Promise<T> {
    while (this.held !== null) await this.held;
    return this.tracked(action());
  }

  async #check(report: (finding: CheckFinding) => void): Promise<CheckResult> {
    if (!this.readOnly) await this.#image.commit();
    return checkQcow2(this.primary!, this.#checkLayout(), report);
  }

  #checkLayout(): CheckLayout {
    const { data, header, snapshots } = this.#image;
    const isRaw = (header.autoclearFeatures & Autoclear.dataFileRaw) !== 0n;
    const region = this.#encryption?.region ?? null;
    return {
      ...header,
      isExternal: data.isExternal,
      isRaw,
      snapshots: checkedSnapshots(snapshots.list, header.version),
      snapshotTable: { offset: snapshots.offset, length: snapshots.bytes },
      bitmapRegions: this.#stored.regions,
      regions: region === null ? [] : [region],
    };
  }

  #repair(kind: RepairKind, report: (finding: CheckFinding) => void): Promise<RepairResult> {
    return this.alone('repair', () => this.#repairAlone(kind, report));
  }

  async #repairAlone(kind: RepairKind, report: (finding: CheckFinding) => void): Promise<RepairResult> {
    const image = this.#image;
    const found = this.#damage;
    if (kind === 'leaks' && found !== null && found.error !== null) throw found.error;
    // Of an image in use, all is on disk then, lowered refcounts, too: what waits to be freed is no leak.
    if (found === null) await image.drain();
    const layout = this.#checkLayout();
    const snapshots = kind === 'all' ? { list: image.snapshots.list, gaveUp: false } : undefined;
    const damage = found ?? { faults: [], error: null, snapshots };
    const result = await repairImage(image, this.primary!, layout, kind, report, { damage });
    if (found === null) {
      await image.renewIndex();
      await this.#stored.verify();
      return result;
    }
    if (layout.bitmapDirectory !== undefined) this.#keepBitmaps(layout.bitmapDirectory, found.salvaged);
    this.#damage = null;
    return result;
  }

  /** The repair has left `directory`; null: no bitmaps. */
  #keepBitmaps(directory: DirectoryPlace | null, { kept }: LoadedBitmaps): void {
    const loaded = { directory, kept: directory === null ? [] : kept };
    if (directory === null) for (const { bitmap } of kept) this.bitmaps.delete(bitmap.name!);
    this.#stored = new BitmapStore(this.#image, this.#bitmapOwner(), loaded);
  }

  async #prepareAmend(options: Qcow2AmendOptions): Promise<PreparedAmend> {
    this.checkWritable('amend');
    return prepareAmend(options, {
      image: () => this.#image,
      hasNewBitmaps: () => this.#stored.hasNew,
      alone: (action) => this.alone('amend', action),
      openAgain: (isUnsure) => this.#openAgain(isUnsure),
    });
  }

  /**
   * Opens what is in the file. After a failure (`isUnsure`), the file may read as one header while the disk has the other. Both are right, but what one of them refers to
   * is free by the other: so the one that is read is written again before anything is allocated.
   */
  async #openAgain(isUnsure: boolean): Promise<void> {
    try {
      const head = new Uint8Array(Math.min(this.primary!.length, this.#image.geometry.clusterSize));
      await this.primary!.read(0, head);
      if (isUnsure) {
        await this.primary!.write(0, head.subarray(0, SECTOR));
        await this.primary!.flush();
      }
      await this.#takeImage(head);
      await this.#becomeWritable();
    } catch (error) {
      this.#image.broken ??= toBlockError(error);
      throw error;
    }
  }

  /** Takes the image whose header is in `head` into use, in the place of what is in memory. */
  async #takeImage(head: Uint8Array<ArrayBuffer>): Promise<void> {
    const old = this.#image;
    const header = parseHeader(head, this.filename);
    const image = this.#makeImage(parseHeaderArea(head, header, this.filename), head);
    await image.mapping.load();
    await image.refcounts.load();
    await image.readSnapshots();
    old.mapping.cache.clear();
    old.refcounts.blocks.clear();
    // What the last one has written may not be durable yet.
    image.file.unflushed = true;
    image.data.written.unflushed = true;
    this.#image = image;
    this.#stored.moveTo(image);
  }

  #area(): HeaderArea {
    const { header, extensions, backingFile } = this.#image;
    return { header, extensions, backingFile };
  }

  protected override async doRead(offset: GuestOffset, buffer: Uint8Array, scan?: ZeroScan): Promise<void> {
    await readGuest(this.#image, offset, buffer);
    if (scan !== undefined) this.host.memory.zeroMap(buffer, scan.granule, scan.map);
  }

  override blockStatusSync(offset: GuestOffset, length: number): BlockStatus | null {
    return statusSync(this.#image, offset, length);
  }

  protected override doBlockStatus(offset: GuestOffset, length: number): Promise<BlockStatus> {
    return statusOf(this.#image, offset, length);
  }

  override lookUpEnd(offset: number): number {
    const { l2Span } = this.#image.geometry;
    return roundDown(offset, l2Span) + l2Span;
  }

  protected override doWrite(offset: GuestOffset, buffer: Uint8Array, flags: WriteFlags): Promise<void> {
    if (flags.compressed) return writeCompressed(this.#image, [{ offset, length: buffer.length }], buffer);
    return (
      writeInPlace(this.#image, offset, buffer) ?? writeGuest(this.#image, [{ offset, length: buffer.length }], buffer)
    );
  }

  protected override doWriteExtents(
    extents: readonly GuestExtent[],
    buffer: Uint8Array,
    flags: WriteFlags,
  ): Promise<void> {
    if (flags.compressed) return writeCompressed(this.#image, extents, buffer);
    return writeGuest(this.#image, extents, buffer);
  }

  protected override doWriteZeroes(offset: GuestOffset, length: number, flags: ZeroFlags): Promise<void> {
    return zeroGuest(this.#image, offset, length, flags);
  }

  protected override doDiscard(offset: GuestOffset, length: number): Promise<void> {
    return discardGuest(this.#image, offset, length);
  }

  /** A node above may have located a request past this one: it is counted there, and here by its guard. */
  protected override doDrain(): Promise<void> {
    return this.#image.reclamation.synchronize();
  }

  protected override async doFlush(): Promise<void> {
    if (!this.readOnly) await this.#stored.flush();
  }

  protected override async doTruncate(size: GuestOffset, options: TruncateOptions): Promise<void> {
    const { preallocation = 'off' } = options;
    this.#stored.checkResizable(size);
    await this.#stored.resizing(() => resizeImage(this.#image, this.length as GuestOffset, size, preallocation));
  }

  protected override async doChangeBackingFile(file: string | null, format: string | null): Promise<void> {
    await setBackingHeader(this.#image, file, format);
  }

  override checkBackingRoom(file: string, format: string): void {
    checkBackingHeader(this.#image, file, format);
  }

  protected override doMakeEmpty(): Promise<void> {
    return emptyImage(this.#image);
  }

  override async prepareReopen(change: NodeChange): Promise<PreparedReopen> {
    const image = this.#image;
    const own = change.options as DriverOptions | undefined;
    const readOnly = change.readOnly ?? this.readOnly;
    const was = { own: this.#own, discard: this.discardMode };
    if (own !== undefined) checkOptions(own, image.geometry, this.filename);
    if (this.readOnly && !readOnly) {
      checkFeatures(this.#area(), this.filename, true);
      this.#snapshots.checkWritable();
    }
    if (!this.readOnly && readOnly) {
      await this.#stored.finish();
      // This, and the flush before it, may have freed clusters in memory: their lowered refcounts must be written, too.
      await image.commit();
      await image.trim();
    }
    const { metadata } = image;
    return {
      commit: () => this.#take(own, change.discard ?? was.discard),
      complete: this.readOnly && !readOnly ? () => this.#becomeWritable() : () => image.indexInactive(),
      revert: () => {
        this.#take(own && was.own, was.discard);
        image.takeIndex(metadata);
      },
    };
  }

  #take(own: DriverOptions | undefined, discard: BlockdevDiscardOptions): void {
    if (own === undefined) return;
    this.#own = own;
    const { geometry, header } = this.#image;
    this.#image.change({
      caches: cacheTables(own, geometry, header),
      overlapKinds: overlapKinds(own),
      discards: discardPolicy(own, discard),
    });
  }

  /** Writes all changes of metadata. Two commits are needed: the second one writes the lowered refcounts of clusters that the first one freed. */
  protected override async doClose(): Promise<void> {
    const image = this.#image;
    try {
      if (this.readOnly) return;
      await storeAll(image);
      if (image.broken !== null) return;
      try {
        await this.#stored.finish();
      } finally {
        await image.commit();
        await image.trim();
      }
    } finally {
      image.data.close();
      image.mapping.cache.clear();
      image.refcounts.blocks.clear();
    }
  }
}
