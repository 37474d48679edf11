// The image of a qcow2 node: how it is read from its file, made ready for its first change, checked, repaired, and read again after an amend.
//
//   load --> [image, bitmaps] --becomeWritable--> [ready for changes]
//                ^-- openAgain <-- amend          checkImage, repairImage

import type { CheckResult, RepairKind, RepairResult } from '../../../block/abilities.js';
import type { Child } from '../../../block/child.js';
import { formatNodeName } from '../../../block/filename.js';
import type { CheckFinding } from '../../../block/finding.js';
import type { Graph } from '../../../block/graph.js';
import { FormatNode } from '../../../block/node/format.js';
import type { BlockNode, NodeOptions } from '../../../block/node/node.js';
import type { Permissions } from '../../../block/roles.js';
import { BlockError, toBlockError } from '../../../util/errors.js';
import { ImageFile } from '../../image-file.js';
import type { DirectoryPlace } from './bitmap-directory.js';
import { type BitmapOwner, BitmapStore } from './bitmap-store.js';
import { type LoadedBitmaps, loadBitmaps } from './bitmaps.js';
import { checkQcow2 } from './check.js';
import type { CheckLayout } from './check-state.js';
import type { ImageEncryption } from './crypt.js';
import { type FoundDamage, readDamaged } from './damage.js';
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
import { Qcow2Image } from './image.js';
import { cacheTables, type DriverOptions, discardPolicy, overlapKinds } from './options.js';
import { repairDirty, repairImage } from './repair-image.js';
import { checkedSnapshots } from './repair-snapshots.js';
import { SECTOR } from './types.js';

/** The child that an external data file is. */
export const DATA_FILE = 'data-file';

/** The node's part that has the image; what is done with it is `Qcow2Node`'s. */
export abstract class Qcow2ImageNode extends FormatNode {
  override readonly driver = 'qcow2';
  override readonly filename: string;
  /** An amend puts another one in its place. */
  protected image: Qcow2Image;
  /** The driver's own options. */
  protected own: DriverOptions;
  protected readonly encryption: ImageEncryption | null;
  /** The bitmaps that are stored in the image. */
  protected stored: BitmapStore;
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
    this.own = own;
    this.encryption = encryption;
    if (encryption !== null) this.requestAlignment = SECTOR;
    this.filename = formatNodeName(this.driver, {}, file);
    this.length = area.header.size;
    this.backingFile = area.backingFile;
    this.backingFormat = extensionText(area.extensions, Extension.backingFormat);
    const isExternal = (area.header.incompatibleFeatures & Incompatible.dataFile) !== 0n;
    this.setChild('file', file, isExternal ? 'metadata' : 'image', permissions);
    if (dataFile !== null) this.setChild(DATA_FILE, dataFile, 'data', permissions);
    this.image = this.#makeImage(area, head);
    this.stored = new BitmapStore(this.image, this.#bitmapOwner(), { directory: null, kept: [] });
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
      this.encryption?.content ?? null,
      area,
      head.slice(0, SECTOR),
      {
        caches: cacheTables(this.own, geometryOf(area.header), area.header),
        overlapKinds: overlapKinds(this.own),
        discards: discardPolicy(this.own, this.discardMode),
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

  /** This node, as the store of its bitmaps sees it. */
  #bitmapOwner(): BitmapOwner {
    const node = this;
    return {
      bitmaps: this.bitmaps,
      clusterSize: this.image.geometry.clusterSize,
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

  /**
   * Reads the L1 and refcount tables, the list of snapshots, and the bitmaps. An image that is to be written, and was not closed properly, is repaired before, but where it was
   * opened `forRepair`. Rejects with `io`, `invalid-image`, `corrupt-image`, `unsupported`, `limit`.
   */
  async load(forRepair: boolean): Promise<void> {
    const { mapping, refcounts } = this.image;
    await mapping.load();
    await refcounts.load();
    const owner = this.#bitmapOwner();
    const loaded = forRepair ? await this.#loadDamaged(owner) : await this.#loadWhole(owner);
    for (const { bitmap } of loaded.kept) this.bitmaps.set(bitmap.name!, bitmap);
    this.stored = new BitmapStore(this.image, owner, loaded);
    if (!this.readOnly && !forRepair) await this.becomeWritable();
  }

  async #loadWhole(owner: BitmapOwner): Promise<LoadedBitmaps> {
    await this.image.readSnapshots();
    return loadBitmaps(this.image.file, this.area(), owner, this.graph.warn);
  }

  async #loadDamaged(owner: BitmapOwner): Promise<LoadedBitmaps> {
    this.#damage = await readDamaged(this.image, this.area(), owner, this.graph.warn);
    return this.#damage.salvaged;
  }

  /**
   * Prepares the image for its first change: what was not closed properly is repaired, the index of metadata is made, and the autoclear bits that Diskwright
   * does not know are cleared.
   */
  protected async becomeWritable(): Promise<void> {
    const image = this.image;
    if ((image.header.incompatibleFeatures & Incompatible.dirty) !== 0n) {
      await repairDirty(image, this.primary!, this.checkLayout(), this.graph.warn);
    }
    image.indexMetadata();
    await image.indexInactive();
    await this.stored.verify();
    // `headerDirty` is set where an earlier attempt failed.
    if (image.headerDirty || (image.header.autoclearFeatures & ~KNOWN_AUTOCLEAR) !== 0n) {
      image.header.autoclearFeatures &= KNOWN_AUTOCLEAR;
      await image.committer.writeHeader();
    }
  }

  /** Runs `action`, which changes the image and is no guest's request: it waits for what runs alone, and that waits for it. */
  protected async asRequest<T>(action: () => Promise<T>): Promise<T> {
    while (this.held !== null) await this.held;
    return this.tracked(action());
  }

  protected async checkImage(report: (finding: CheckFinding) => void): Promise<CheckResult> {
    if (!this.readOnly) await this.image.commit();
    return checkQcow2(this.primary!, this.checkLayout(), report);
  }

  protected checkLayout(): CheckLayout {
    const { data, header, snapshots } = this.image;
    const isRaw = (header.autoclearFeatures & Autoclear.dataFileRaw) !== 0n;
    const region = this.encryption?.region ?? null;
    return {
      ...header,
      isExternal: data.isExternal,
      isRaw,
      snapshots: checkedSnapshots(snapshots.list, header.version),
      snapshotTable: { offset: snapshots.offset, length: snapshots.bytes },
      bitmapRegions: this.stored.regions,
      regions: region === null ? [] : [region],
    };
  }

  protected repairImage(kind: RepairKind, report: (finding: CheckFinding) => void): Promise<RepairResult> {
    return this.alone('repair', () => this.repairAlone(kind, report));
  }

  protected async repairAlone(kind: RepairKind, report: (finding: CheckFinding) => void): Promise<RepairResult> {
    const image = this.image;
    const found = this.#damage;
    if (kind === 'leaks' && found !== null && found.error !== null) throw found.error;
    // Of an image in use, all is on disk then, lowered refcounts, too: what waits to be freed is no leak.
    if (found === null) await image.drain();
    const layout = this.checkLayout();
    const snapshots = kind === 'all' ? { list: image.snapshots.list, gaveUp: false } : undefined;
    const damage = found ?? { faults: [], error: null, snapshots };
    const result = await repairImage(image, this.primary!, layout, kind, report, { damage });
    if (found === null) {
      await image.renewIndex();
      await this.stored.verify();
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
    this.stored = new BitmapStore(this.image, this.#bitmapOwner(), loaded);
  }

  /**
   * Opens what is in the file. After a failure (`isUnsure`), the file may read as one header while the disk has the other. Both are right, but what one of them refers to
   * is free by the other: so the one that is read is written again before anything is allocated.
   */
  protected async openAgain(isUnsure: boolean): Promise<void> {
    try {
      const head = new Uint8Array(Math.min(this.primary!.length, this.image.geometry.clusterSize));
      await this.primary!.read(0, head);
      if (isUnsure) {
        await this.primary!.write(0, head.subarray(0, SECTOR));
        await this.primary!.flush();
      }
      await this.#takeImage(head);
      await this.becomeWritable();
    } catch (error) {
      this.image.broken ??= toBlockError(error);
      throw error;
    }
  }

  /** Takes the image whose header is in `head` into use, in the place of what is in memory. */
  async #takeImage(head: Uint8Array<ArrayBuffer>): Promise<void> {
    const old = this.image;
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
    this.image = image;
    this.stored.moveTo(image);
  }

  protected area(): HeaderArea {
    const { header, extensions, backingFile } = this.image;
    return { header, extensions, backingFile };
  }
}
