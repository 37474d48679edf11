// qcow2: the node. It answers the hot path (`locate`) from cached tables, and passes every other request to the part of the driver that does it:
// see image.ts for the parts, and image-node.ts for how the node comes to its image. Specification: docs/interop/qcow2 of QEMU.

import type { Abilities, PreparedAmend } from '../../../block/abilities.js';
import type { NodeChange, PreparedReopen } from '../../../block/node/reopening.js';
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
import { roundDown } from '../../../util/numbers.js';
import type { SlotPlace } from '../luks/amend.js';
import type { Qcow2AmendOptions } from './amend.js';
import { prepareAmend } from './amend-steps.js';
import { checkNewBitmap } from './bitmap-limits.js';
import { checkQcow2 } from './check.js';
import { type CompactOwner, compactImage } from './compact.js';
import { writeCompressed } from './compressed-write.js';
import { emptyImage } from './empty.js';
import { checkFeatures } from './features.js';
import { checkBackingHeader, setBackingHeader } from './header-update.js';
import { Qcow2ImageNode } from './image-node.js';
import { qcow2Details } from './info.js';
import { locateRead, locateWrite } from './locate.js';
import { storeAll } from './lost.js';
import { prepareMove } from './move.js';
import { cacheTables, checkOptions, type DriverOptions, discardPolicy, overlapKinds } from './options.js';
import { readGuest } from './read.js';
import { resizeImage } from './resize.js';
import { SnapshotDesk } from './snapshot-desk.js';
import { statusOf, statusSync } from './status.js';
import type { GuestExtent, GuestOffset } from './types.js';
import { writeGuest, writeInPlace } from './write.js';
import { discardGuest, zeroGuest } from './zero.js';

export class Qcow2Node extends Qcow2ImageNode {
  readonly #snapshots = this.#makeDesk();

  #makeDesk(): SnapshotDesk {
    return new SnapshotDesk({
      image: () => this.image,
      checkResizable: (size) => this.stored.checkResizable(size),
      alone: (action) => this.alone('snapshot', action),
      changingAll: (action) => this.stored.resizing(action),
      resized: (size) => this.#becomeOfSize(size),
      shows: (size) => {
        this.length = size;
        // They say what was written to the disk.
        this.bitmaps.clear();
      },
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

  /** Clusters that were allocated ahead decrypt to anything but zeroes. */
  override get zeroWhenNew(): boolean {
    return super.zeroWhenNew && (this.encryption === null || this.host.memory.isZero(this.image.mapping.l1.bytes));
  }

  override get clusterBytes(): number {
    return this.image.geometry.clusterSize;
  }

  override get compression(): Compression {
    return 'taken';
  }

  override expectWrites(bytes: number): void {
    super.expectWrites(bytes);
    const { data, file } = this.image;
    // An external data file has its size already.
    if (!data.isExternal && Number.isSafeInteger(bytes) && bytes >= 0) file.expect(bytes);
  }

  protected override doLocate(offset: GuestOffset, length: number, write: boolean, into: Located): boolean {
    return write ? locateWrite(this.image, offset, length, into) : locateRead(this.image, offset, length, into);
  }

  protected override doPrepareMove(extents: readonly GuestExtent[], granule: number): Promise<MovePlace | null> {
    return prepareMove(this.image, extents, granule);
  }

  override get abilities(): Abilities {
    return {
      details: () => qcow2Details(this.area(), this.stored.list, this.encryption?.info() ?? null),
      check: (report) => this.checkImage(report),
      repair: (kind, report) => this.repairImage(kind, report),
      snapshots: this.#snapshots,
      amend: { prepare: (options) => this.#prepareAmend(options) },
      ...this.#slotAbility(),
      compact: (options, control) => compactImage(this.image, this.#compactOwner(), options, control),
      bitmaps: {
        storable: this.image.geometry.version > 2,
        checkNew: (name, granularity) => checkNewBitmap(this.image, this.bitmaps, name, granularity),
        store: () => this.asRequest(() => this.stored.store()),
      },
    };
  }

  #compactOwner(): CompactOwner {
    const [image, stored] = [this.image, this.stored];
    const checkIsThere = (): void => {
      if (this.image === image && this.stored === stored) return;
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
        this.asRequest(async () => {
          checkIsThere();
          return action();
        }),
      check: (report) => checkQcow2(this.primary!, this.checkLayout(), report),
      repairLeaks: () => this.repairAlone('leaks', () => undefined),
    };
  }

  #slotAbility(): Pick<Abilities, 'keySlots'> {
    const { slots = null, region = null } = this.encryption ?? {};
    if (slots === null || region === null) return {};
    // An amend puts another image in the place of this one.
    const file = () => this.image.file;
    const place: SlotPlace = {
      read: (offset, buffer) => file().read(region.offset + offset, buffer),
      write: (offset, bytes) => file().write(region.offset + offset, bytes),
      flush: () => file().flush(),
    };
    return { keySlots: (change) => this.asRequest(() => slots.change(place, change)) };
  }

  async #prepareAmend(options: Qcow2AmendOptions): Promise<PreparedAmend> {
    this.checkWritable('amend');
    return prepareAmend(options, {
      image: () => this.image,
      hasNewBitmaps: () => this.stored.hasNew,
      alone: (action) => this.alone('amend', action),
      openAgain: (isUnsure) => this.openAgain(isUnsure),
    });
  }

  protected override async doRead(offset: GuestOffset, buffer: Uint8Array, scan?: ZeroScan): Promise<void> {
    await readGuest(this.image, offset, buffer);
    if (scan !== undefined) this.host.memory.zeroMap(buffer, scan.granule, scan.map);
  }

  override blockStatusSync(offset: GuestOffset, length: number): BlockStatus | null {
    return statusSync(this.image, offset, length);
  }

  protected override doBlockStatus(offset: GuestOffset, length: number): Promise<BlockStatus> {
    return statusOf(this.image, offset, length);
  }

  override lookUpEnd(offset: number): number {
    const { l2Span } = this.image.geometry;
    return roundDown(offset, l2Span) + l2Span;
  }

  protected override doWrite(offset: GuestOffset, buffer: Uint8Array, flags: WriteFlags): Promise<void> {
    if (flags.compressed) return writeCompressed(this.image, [{ offset, length: buffer.length }], buffer);
    return (
      writeInPlace(this.image, offset, buffer) ?? writeGuest(this.image, [{ offset, length: buffer.length }], buffer)
    );
  }

  protected override doWriteExtents(
    extents: readonly GuestExtent[],
    buffer: Uint8Array,
    flags: WriteFlags,
  ): Promise<void> {
    if (flags.compressed) return writeCompressed(this.image, extents, buffer);
    return writeGuest(this.image, extents, buffer);
  }

  protected override doWriteZeroes(offset: GuestOffset, length: number, flags: ZeroFlags): Promise<void> {
    return zeroGuest(this.image, offset, length, flags);
  }

  protected override doDiscard(offset: GuestOffset, length: number): Promise<void> {
    return discardGuest(this.image, offset, length);
  }

  /** A node above may have located a request past this one: it is counted there, and here by its guard. */
  protected override doDrain(): Promise<void> {
    return this.image.reclamation.synchronize();
  }

  protected override async doFlush(): Promise<void> {
    if (!this.readOnly) await this.stored.flush();
  }

  protected override async doTruncate(size: GuestOffset, options: TruncateOptions): Promise<void> {
    const { preallocation = 'off' } = options;
    this.stored.checkResizable(size);
    await this.stored.resizing(() => resizeImage(this.image, this.length as GuestOffset, size, preallocation));
  }

  protected override async doChangeBackingFile(file: string | null, format: string | null): Promise<void> {
    await setBackingHeader(this.image, file, format);
  }

  override checkBackingChange(file: string | null, format: string | null): void {
    if (file !== null && format !== null) checkBackingHeader(this.image, file, format);
  }

  protected override doMakeEmpty(): Promise<void> {
    return emptyImage(this.image);
  }

  override async prepareReopen(change: NodeChange): Promise<PreparedReopen> {
    const image = this.image;
    const own = change.options as DriverOptions | undefined;
    const readOnly = change.readOnly ?? this.readOnly;
    const was = { own: this.own, discard: this.discardMode };
    if (own !== undefined) checkOptions(own, image.geometry, this.filename);
    if (this.readOnly && !readOnly) {
      checkFeatures(this.area(), this.filename, true);
      this.#snapshots.checkWritable();
    }
    if (!this.readOnly && readOnly) {
      await this.stored.finish();
      // This, and the flush before it, may have freed clusters in memory: their lowered refcounts must be written, too.
      await image.commit();
      await image.trim();
    }
    const { metadata } = image;
    return {
      commit: () => this.#take(own, change.discard ?? was.discard),
      complete: this.readOnly && !readOnly ? () => this.becomeWritable() : () => image.indexInactive(),
      revert: () => {
        this.#take(own && was.own, was.discard);
        image.takeIndex(metadata);
      },
    };
  }

  #take(own: DriverOptions | undefined, discard: BlockdevDiscardOptions): void {
    if (own === undefined) return;
    this.own = own;
    const { geometry, header } = this.image;
    this.image.change({
      caches: cacheTables(own, geometry, header),
      overlapKinds: overlapKinds(own),
      discards: discardPolicy(own, discard),
    });
  }

  /** Writes all changes of metadata. Two commits are needed: the second one writes the lowered refcounts of clusters that the first one freed. */
  protected override async doClose(): Promise<void> {
    const image = this.image;
    try {
      if (this.readOnly) return;
      await storeAll(image);
      if (image.broken !== null) return;
      try {
        await this.stored.finish();
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
