// One open image: the state that the parts of the driver share. Each part has one concern and reaches the others through this object.
//
//   driver.ts     read, status, locate ---------------> mapping ---------------------+
//   (the node)    write, zero, compressed, resize ----> allocation, frees            +--> table caches --> commit-order --> ImageFile
//                        |                                   +--> refcounts ---------+
//                        +--- content -----------------------------------------------------------------> DataFile

import type { Child } from '../../../block/child.js';
import type { CompressionType, Host, Memory } from '../../../host/host.js';
import type { QapiEvents } from '../../../schema/generated/types.js';
import { reportUnforeseen } from '../../../util/best-effort.js';
import { viewBe64, viewOf } from '../../../util/bytes.js';
import { BlockError, type BlockErrorCode } from '../../../util/errors.js';
import { RangeLock } from '../../../util/range-lock.js';
import type { ImageFile } from '../../image-file.js';
import { Allocation } from './allocation.js';
import { Committer } from './commit-order.js';
import { CompressedPacker } from './compressed-pack.js';
import { DataFile } from './data-file.js';
import { type ContentCipher, EncryptedData } from './encrypted-data.js';
import { ExternalData } from './external-data.js';
import { Frees } from './frees.js';
import {
  Autoclear,
  encodeHeader,
  Field,
  geometryOf,
  type HeaderArea,
  type HeaderExtension,
  Incompatible,
  parseHeaderArea,
  type Qcow2Header,
} from './header.js';
import { Intake } from './intake.js';
import { ExternalMapping, Mapping } from './mapping.js';
import { ExtendedMapping, ExternalExtendedMapping } from './mapping-extended.js';
import type { CacheTables, DiscardPolicy, OverlapKind } from './options.js';
import { MetadataIndex, overlapMessage } from './overlap.js';
import { POINTER_BYTES, pointerTarget } from './pointer-codec.js';
import { Preallocation } from './preallocation.js';
import { Reclamation } from './reclamation.js';
import { Refcounts } from './refcounts.js';
import { readSnapshotTable, tableBytes } from './snapshot-table.js';
import { readSnapshotL1 } from './snapshot-walk.js';
import type { SnapshotTable } from './snapshots.js';
import { TableMath } from './table-math.js';
import { type Geometry, type HostOffset, NO_HOST, SECTOR } from './types.js';

/** What `drain` tries at most. */
const MAX_COMMITS = 4;

/** The node of an image. */
export interface ImageOwner {
  backing(): Child | null;
  writable(): boolean;
  length(): number;
  /** The metadata contradicts itself. */
  corrupted(what: Omit<QapiEvents['BLOCK_IMAGE_CORRUPTED'], 'device' | 'node-name'>): void;
}

export interface ImageSettings {
  caches: CacheTables;
  overlapKinds: ReadonlySet<OverlapKind>;
  discards: DiscardPolicy;
}

export class Qcow2Image {
  readonly host: Host;
  readonly memory: Memory;
  readonly math: TableMath;
  /** The image file, for tables and all other metadata. */
  readonly file: ImageFile;
  /** Access to the content of guest clusters. */
  readonly data: DataFile;
  /** The external data file that it lies in; null where the image has none. */
  readonly external: ExternalData | null;
  readonly header: Qcow2Header;
  readonly geometry: Geometry;
  extensions: HeaderExtension[];
  backingFile: string | null;
  /** The link to the backing node, null where there is none. */
  readonly backing: () => Child | null;
  /** Virtual size, bytes, as requests see it. */
  readonly length: () => number;
  /** Of compressed clusters. */
  readonly compression: CompressionType;

  readonly mapping: Mapping;
  readonly refcounts: Refcounts;
  readonly allocation: Allocation;
  readonly frees: Frees;
  readonly intake: Intake;
  metadata: MetadataIndex;
  /** What a write of content could hit: the metadata, or nothing where the content has a file of its own. */
  besideContent: MetadataIndex;
  /** Read when the image is opened. */
  snapshots: SnapshotTable = { list: [], offset: NO_HOST, bytes: 0 };
  readonly committer: Committer;
  readonly packer: CompressedPacker;
  discards: DiscardPolicy;
  readonly reclamation: Reclamation;
  readonly preallocation = new Preallocation(this);
  /** Locks guest ranges, in whole clusters, while their mapping is changed. */
  readonly locks = new RangeLock();
  readonly writable: () => boolean;

  /** The header in memory differs from the one on disk, which is still valid. */
  headerDirty = false;
  readonly #corrupted: ImageOwner['corrupted'];
  #told = false;
  /** Set when metadata turned out to be corrupt: every later change fails with this error. */
  broken: BlockError | null = null;
  readonly #bitmapDirectory = { offset: NO_HOST, length: 0 };
  /** First sector of the file as it was read. The header's fields are encoded into it, so that its other bytes are kept. */
  #firstSector: Uint8Array;

  /** `dataFile`: the file of the content where the header says that it is not in `file`; `content`: how it is encrypted. */
  constructor(
    host: Host,
    file: ImageFile,
    dataFile: ImageFile | null,
    content: ContentCipher | null,
    area: HeaderArea,
    firstSector: Uint8Array,
    settings: ImageSettings,
    owner: ImageOwner,
  ) {
    this.host = host;
    this.memory = host.memory;
    this.math = new TableMath(host.memory);
    this.file = file;
    this.header = area.header;
    const isRaw = (area.header.autoclearFeatures & Autoclear.dataFileRaw) !== 0n;
    this.external = dataFile === null ? null : new ExternalData(dataFile, isRaw, () => this.discards.request);
    const stored = this.external ?? new DataFile(file);
    this.data = content === null ? stored : new EncryptedData(stored, this.memory, content);
    this.compression = area.header.compressionType === 1 ? 'zstd' : 'zlib';
    this.extensions = area.extensions;
    this.backingFile = area.backingFile;
    this.#firstSector = firstSector;
    this.geometry = geometryOf(area.header);
    this.backing = owner.backing;
    this.writable = owner.writable;
    this.#corrupted = owner.corrupted;
    this.length = owner.length;
    this.discards = settings.discards;
    this.reclamation = new Reclamation(this.data.written);
    const kinds = this.geometry.extendedL2 ? [ExtendedMapping, ExternalExtendedMapping] : [Mapping, ExternalMapping];
    this.mapping = new kinds[dataFile === null ? 0 : 1](this, settings.caches.l2);
    this.refcounts = new Refcounts(this, settings.caches.refcount);
    this.allocation = new Allocation(this);
    this.frees = new Frees(this);
    this.intake = new Intake(this);
    this.metadata = new MetadataIndex(this.geometry, settings.overlapKinds);
    this.besideContent = this.#metadataBesideContent();
    this.committer = new Committer(this);
    this.packer = new CompressedPacker(this);
    this.refcounts.onFree = (cluster) => {
      this.allocation.freed(cluster);
      this.packer.freed(cluster);
    };
  }

  /** Takes other settings while nothing is under way. */
  change({ caches, overlapKinds, discards }: ImageSettings): void {
    this.discards = discards;
    this.mapping.cache.limit = caches.l2;
    this.refcounts.blocks.limit = caches.refcount;
    if (this.metadata.checksJust(overlapKinds)) return;
    this.metadata = new MetadataIndex(this.geometry, overlapKinds);
    this.besideContent = this.#metadataBesideContent();
    if (this.writable()) this.indexMetadata();
  }

  /** Takes the index back that `change` has replaced: nothing was written since. */
  takeIndex(metadata: MetadataIndex): void {
    this.metadata = metadata;
    this.besideContent = this.#metadataBesideContent();
  }

  #metadataBesideContent(): MetadataIndex {
    return this.data.isExternal ? new MetadataIndex(this.geometry, new Set()) : this.metadata;
  }

  commit(): Promise<void> {
    return this.committer.commit();
  }

  /** Resolves when everything is on disk, nothing waits to be freed, and no request that went straight to the file is under way. Rejects with `io`, `no-space`. */
  async quiet(): Promise<void> {
    this.checkUsable();
    await this.reclamation.synchronize();
    await this.drain();
  }

  /** Resolves when nothing of the metadata waits for a commit, where nobody changes it meanwhile. Rejects with `io`, and with `no-space` where the refcounts of what was freed have none. */
  async drain(): Promise<void> {
    // The first commit frees what was unmapped; the second one writes that. Where there was no space for a moment, it takes one more.
    for (let commits = 1; commits <= MAX_COMMITS; commits++) {
      await this.commit();
      if (commits >= 2 && this.committer.isIdle()) return;
    }
    if (this.frees.wait()) throw this.error('no-space', 'No space for the refcounts of what was freed', 'flush');
  }

  /**
   * The image has, or names, a backing file: then zeroes must be stored here, even beyond the end of the backing node, since a job may replace it by a longer
   * one. An image may be open without the backing file that its header names.
   */
  get hasBacking(): boolean {
    return this.backing() !== null || this.backingFile !== null;
  }

  /** Cuts what was added to the files ahead of its use. */
  async trim(): Promise<void> {
    await this.file.trim();
    await this.external?.trim();
  }

  /** Fills the index of metadata. Must be called before anything is written. */
  indexMetadata(): void {
    this.fillIndex(this.metadata);
  }

  /** Makes the index of metadata anew, after a change of snapshots. The L2 tables of snapshots are read where they are checked. Rejects with `io`, `corrupt-image`. */
  async renewIndex(): Promise<void> {
    this.metadata = this.metadata.empty();
    this.besideContent = this.#metadataBesideContent();
    this.indexMetadata();
    await this.indexInactive();
  }

  /** Adds the L2 tables of the snapshots to the index, where they are checked. Rejects with `io`, `corrupt-image`. */
  async indexInactive(): Promise<void> {
    if (!this.metadata.checks('inactive-l2')) return;
    const offsets: number[] = [];
    for (const snapshot of this.snapshots.list) {
      const l1 = await readSnapshotL1(this, snapshot);
      for (let index = 0; index < snapshot.l1Size; index++) {
        const target = pointerTarget(l1, index);
        if (target !== 0) offsets.push(target);
      }
    }
    this.metadata.setAll('inactive-l2', Float64Array.from(offsets));
  }

  /** Fills an index that has nothing in it with what is known without reading. */
  fillIndex(metadata: MetadataIndex): void {
    const { header, geometry, snapshots } = this;
    const { clusterSize } = geometry;
    const { l1 } = this.mapping;
    const { table } = this.refcounts;
    metadata.setFixed('main-header', header, 0 as HostOffset, clusterSize);
    metadata.setFixed('active-l1', l1, header.l1TableOffset, header.l1Size * 8);
    metadata.setFixed('refcount-table', table, header.refcountTableOffset, header.refcountTableClusters * clusterSize);
    metadata.setFixed('snapshot-table', snapshots, snapshots.offset, snapshots.bytes);
    if (metadata.checks('inactive-l1')) {
      for (const one of snapshots.list) metadata.setFixed('inactive-l1', one, one.l1Offset, one.l1Size * 8);
    }
    const { offset, length } = this.#bitmapDirectory;
    metadata.setFixed('bitmap-directory', this.#bitmapDirectory, offset, length);
    if (metadata.checks('active-l2')) metadata.setAll('active-l2', l1.targets(this.math));
    if (metadata.checks('refcount-block')) metadata.setAll('refcount-block', table.targets(this.math));
  }

  /**
   * Reads again what a repair may have changed on disk: feature bits, the places of the L1 table, the refcount table and the snapshot table, all tables. Everything was committed before, and
   * nothing is under way. Rejects with `io`.
   */
  async reload(): Promise<void> {
    const { file, header, mapping, refcounts } = this;
    const head = new Uint8Array(Math.min(file.length, this.geometry.clusterSize));
    await file.read(0, head);
    const view = viewOf(head);
    if (header.version === 3) header.incompatibleFeatures = view.getBigUint64(Field.incompatibleFeatures);
    header.l1TableOffset = viewBe64(view, Field.l1TableOffset) as HostOffset;
    header.l1Size = view.getUint32(Field.l1Size);
    header.refcountTableOffset = viewBe64(view, Field.refcountTableOffset) as HostOffset;
    header.refcountTableClusters = view.getUint32(Field.refcountTableClusters);
    if (header.version === 3) header.autoclearFeatures = view.getBigUint64(Field.autoclearFeatures);
    header.nbSnapshots = view.getUint32(Field.nbSnapshots);
    header.snapshotsOffset = viewBe64(view, Field.snapshotsOffset);
    this.extensions = parseHeaderArea(head, header, file.path).extensions;
    this.replaceFirstSector(head);
    file.refresh();
    await this.readSnapshots();
    mapping.cache.clear();
    refcounts.blocks.clear();
    await mapping.l1.resize(header.l1TableOffset, header.l1Size);
    await mapping.load();
    const entries = (header.refcountTableClusters * this.geometry.clusterSize) / POINTER_BYTES;
    await refcounts.table.resize(header.refcountTableOffset, entries);
    await refcounts.load();
    this.allocation.refresh();
    this.packer.forget();
  }

  /** Reads the table of snapshots. Rejects with `invalid-image`, `io`. */
  async readSnapshots(): Promise<void> {
    const { file, header } = this;
    const list = header.nbSnapshots === 0 ? [] : await readSnapshotTable(file, header);
    this.snapshots = { list, offset: header.snapshotsOffset as HostOffset, bytes: tableBytes(list) };
  }

  /** The bitmap directory is there from now on; length 0: there is none. */
  noteBitmapDirectory(offset: HostOffset, length: number): void {
    Object.assign(this.#bitmapDirectory, { offset, length });
    this.metadata.setFixed('bitmap-directory', this.#bitmapDirectory, offset, length);
  }

  /** The first sector with the header's fields as they are in memory. */
  encodeFirstSector(): Uint8Array {
    const fields = encodeHeader(this.header);
    const sector = this.#firstSector.slice();
    sector.set(fields.subarray(0, Math.min(fields.length, SECTOR)));
    this.#firstSector = sector;
    return sector.slice();
  }

  /** Called when the header cluster was written, with its new content. */
  replaceFirstSector(sector: Uint8Array): void {
    this.#firstSector = sector.slice(0, SECTOR);
  }

  error(code: BlockErrorCode, message: string, operation: string, offset?: number): BlockError {
    const path = this.file.path;
    return BlockError.at(path, code, message, { operation, offset });
  }

  /** Throws `corrupt-image` after corruption was found. To be called before each change. */
  checkUsable(): void {
    if (this.broken !== null) throw this.broken;
  }

  /** Rejects with `corrupt-image` where [start, start + length), which a mapping says is data, is metadata. To be called before data is written in place. */
  async checkDataWrite(start: HostOffset, length: number): Promise<void> {
    const what = this.besideContent.overlap(start, start + length);
    if (what !== null) throw await this.corrupt(overlapMessage(what), start, length);
  }

  /**
   * Called where metadata contradicts itself. A writable image is not written any more, and (version 3) gets the corrupt bit on disk. Resolves with
   * the error for the caller to throw: `corrupt-image`. `length`: of the write to `offset` that was kept from being done.
   */
  async corrupt(message: string, offset: number, length?: number): Promise<BlockError> {
    const failure = this.error('corrupt-image', `qcow2: Image is corrupt: ${message}`, 'access', offset);
    const fatal = this.writable();
    if (this.broken !== null) return failure;
    if (fatal) this.broken = failure;
    // Of what is only read, the first is told of.
    if (fatal || !this.#told)
      this.#corrupted({ msg: message, fatal, ...(length !== undefined && { offset, size: length }) });
    this.#told = true;
    if (!fatal) return failure;
    if (this.geometry.version === 3) {
      this.header.incompatibleFeatures |= Incompatible.corrupt;
      try {
        await this.file.write(0, this.encodeFirstSector());
        await this.file.flush();
      } catch (error) {
        reportUnforeseen('corrupt bit', error);
        // The caller reports the corruption; the bit is written with the next header.
        this.headerDirty = true;
      }
    }
    return failure;
  }
}
