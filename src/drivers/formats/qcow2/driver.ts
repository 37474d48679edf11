// qcow2: the node. It checks features at open, answers the hot path from cached tables, and hands everything else to the parts.

import type { Abilities, CheckResult } from '../../../block/abilities.js';
import { type Child, withLink } from '../../../block/child.js';
import type { Graph } from '../../../block/graph.js';
import { FormatNode, openBacking } from '../../../block/node/format.js';
import { BlockNode, type NodeOptions } from '../../../block/node/node.js';
import type { CreateRequest, DriverDefinition, OpenRequest } from '../../../block/registry.js';
import { type Permissions, ROLES } from '../../../block/roles.js';
import {
  type BlockStatus,
  type Located,
  PERM_ALL,
  Perm,
  type TruncateOptions,
  type WriteFlags,
  type ZeroFlags,
} from '../../../block/types.js';
import type { ZeroScan } from '../../../host/host.js';
import { BlockError } from '../../../util/errors.js';
import { loadBitmaps, type StoredBitmaps } from './bitmaps.js';
import { checkQcow2 } from './check.js';
import { writeCompressed } from './compressed-write.js';
import { createQcow2, planQcow2, type Qcow2CreateOptions } from './create.js';
import { QCOW2_CREATE_OPTIONS } from './create-options.js';
import { emptyImage } from './empty.js';
import { checkFeatures } from './features.js';
import {
  Autoclear,
  Extension,
  extensionText,
  Field,
  type HeaderArea,
  hasQcow2Magic,
  parseHeader,
  parseHeaderArea,
} from './header.js';
import { checkBackingHeader, setBackingHeader } from './header-update.js';
import { Qcow2Image } from './image.js';
import { ImageFile } from './image-file.js';
import { QCOW2_DETAIL_ORDER, qcow2Details } from './info.js';
import { locateRead, locateWrite } from './locate.js';
import { storeAll } from './lost.js';
import { cacheTables, checkOptions, type DriverOptions, discardPolicy, overlapKinds } from './options.js';
import { readGuest } from './read.js';
import { resizeImage } from './resize.js';
import { statusOf, statusSync } from './status.js';
import { type GuestExtent, type GuestOffset, makeGeometry, roundDown, SECTOR } from './types.js';
import { writeGuest, writeInPlace } from './write.js';
import { discardGuest, zeroGuest } from './zero.js';

const KNOWN_AUTOCLEAR = Autoclear.bitmaps | Autoclear.dataFileRaw;
const WRITE_PERM = Perm.WRITE | Perm.RESIZE;

export class Qcow2Node extends FormatNode {
  override readonly driver = 'qcow2';
  override readonly filename: string;
  readonly #image: Qcow2Image;
  #stored: StoredBitmaps = { list: [], bitmaps: [], regions: [] };

  /** `file` holds a header that was parsed and checked. */
  constructor(
    graph: Graph,
    options: NodeOptions,
    own: DriverOptions,
    file: BlockNode,
    area: HeaderArea,
    head: Uint8Array,
    permissions: Permissions,
  ) {
    super(graph, options);
    this.filename = file.filename;
    this.length = area.header.size;
    this.backingFile = area.backingFile;
    this.backingFormat = extensionText(area.extensions, Extension.backingFormat);
    const geometry = makeGeometry(area.header.version, area.header.clusterBits, area.header.refcountOrder);
    this.setChild('file', file, 'image', permissions);
    this.#image = new Qcow2Image(
      graph.host,
      new ImageFile(() => this.primary!),
      area,
      head.slice(0, SECTOR),
      {
        caches: cacheTables(own, geometry, area.header),
        overlapKinds: overlapKinds(own),
        discards: discardPolicy(own, this.discardMode),
      },
      { backing: () => this.cow, writable: () => !this.readOnly, length: () => this.length },
    );
  }

  /** Reads the L1 and refcount tables, and the bitmaps. Rejects with `io`, `invalid-image`, `unsupported`, `limit`. */
  async load(): Promise<void> {
    const { mapping, refcounts } = this.#image;
    await mapping.load();
    await refcounts.load();
    this.#stored = await loadBitmaps(this.#image.file, this.#area(), this.graph.warn);
    for (const bitmap of this.#stored.bitmaps) this.bitmaps.set(bitmap.name!, bitmap);
    if (!this.readOnly) await this.#becomeWritable();
  }

  /** What an image needs before its first change. */
  async #becomeWritable(): Promise<void> {
    const image = this.#image;
    image.indexMetadata();
    // The header differs from the one on disk where this failed before.
    if (image.headerDirty || (image.header.autoclearFeatures & ~KNOWN_AUTOCLEAR) !== 0n) {
      image.header.autoclearFeatures &= KNOWN_AUTOCLEAR;
      await image.committer.writeHeader();
    }
  }

  override get clusterBytes(): number {
    return this.#image.geometry.clusterSize;
  }

  override expectWrites(bytes: number): void {
    super.expectWrites(bytes);
    if (Number.isSafeInteger(bytes) && bytes >= 0) this.#image.file.expect(bytes);
  }

  protected override doLocate(offset: GuestOffset, length: number, write: boolean, into: Located): boolean {
    return write ? locateWrite(this.#image, offset, length, into) : locateRead(this.#image, offset, length, into);
  }

  override get abilities(): Abilities {
    return {
      details: () => qcow2Details(this.#area(), this.#stored.list),
      check: (report) => this.#check(report),
    };
  }

  async #check(report: (finding: string) => void): Promise<CheckResult> {
    if (!this.readOnly) await this.#image.commit();
    return checkQcow2(this.primary!, { ...this.#image.header, regions: this.#stored.regions }, report);
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

  protected override async doFlush(): Promise<void> {
    if (!this.readOnly) await this.#image.commit();
  }

  protected override async doTruncate(size: GuestOffset, options: TruncateOptions): Promise<void> {
    await resizeImage(this.#image, this.length as GuestOffset, size, options.preallocation ?? 'off');
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

  protected override async doReopen(readOnly: boolean): Promise<void> {
    const child = this.primary!;
    if (readOnly) {
      // The flush before this has freed clusters: their refcounts must be right on disk too.
      await this.#image.commit();
      await this.#image.file.trim();
      BlockNode.changePermissions(child, Perm.CONSISTENT_READ, child.shared);
      return;
    }
    checkFeatures(this.#area(), this.filename, true);
    BlockNode.changePermissions(child, Perm.CONSISTENT_READ | WRITE_PERM, child.shared);
    await this.#becomeWritable();
  }

  /** Writes everything that waits: two commits, so that the refcounts of clusters that the first one freed are right on disk too. */
  protected override async doClose(): Promise<void> {
    const image = this.#image;
    try {
      if (this.readOnly) return;
      await storeAll(image);
      if (image.broken !== null) return;
      await image.commit();
      await image.file.trim();
    } finally {
      image.mapping.cache.clear();
      image.refcounts.blocks.clear();
    }
  }
}

/** What may hold the header: it may be as long as a cluster; nearly always the first read has all. */
async function readHeader(file: Child): Promise<Uint8Array> {
  const head = await readUpTo(file, 1 << 16);
  const clusterBits = hasQcow2Magic(head) && head.length > 24 ? head[23] : 0;
  return clusterBits > 16 && clusterBits <= 21 ? readUpTo(file, 2 ** clusterBits) : head;
}

/** The begin of the file: `length` bytes, or as many as it has. */
async function readUpTo(file: Child, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(Math.min(length, file.length));
  if (bytes.length > 0) await file.read(0, bytes);
  return bytes;
}

/**
 * Opens the image in `file`. The node is not in the graph yet. Rejects with `invalid-image`, `unsupported` (a feature, by name),
 * `corrupt-image`, `io`.
 */
export async function openQcow2(
  graph: Graph,
  node: NodeOptions,
  file: BlockNode,
  own: DriverOptions = {},
  { use = { readOnly: node.readOnly, forceShare: false, onlyLooks: false }, onlyHeader = false } = {},
): Promise<Qcow2Node> {
  const path = file.filename;
  const head = await withLink(
    file,
    { user: { userName: `node '${node.nodeName}'` }, role: 'root', perm: Perm.CONSISTENT_READ, shared: PERM_ALL },
    readHeader,
  );
  const header = parseHeader(head, path);
  const clusterSize = 2 ** header.clusterBits;
  const area = parseHeaderArea(head.subarray(0, clusterSize), header, path);
  checkFeatures(area, path, !node.readOnly, onlyHeader);
  checkExtent(file, header.l1TableOffset, header.l1Size * 8, 'Active L1 table');
  checkExtent(file, header.refcountTableOffset, 1, 'Reference count table');
  checkOptions(own, makeGeometry(header.version, header.clusterBits, header.refcountOrder), path);
  const opened = new Qcow2Node(graph, node, own, file, area, head, ROLES.image.permissions(use));
  try {
    await opened.load();
  } catch (error) {
    opened.removeChild('file');
    throw error;
  }
  return opened;
}

/** A table must begin within the file (its end may be missing: zeroes that were never written). */
function checkExtent(file: BlockNode, offset: number, length: number, what: string): void {
  if (length === 0 || offset < file.length) return;
  throw BlockError.at(file.filename, 'invalid-image', `${what} is outside of the file`, { offset, operation: 'open' });
}

function needFile<T>(file: T | null): T {
  if (file === null) throw new BlockError('invalid-argument', 'A block device must be specified for "file"');
  return file;
}

async function create({ options, file }: CreateRequest<'qcow2'>): Promise<void> {
  await createQcow2(needFile(file), createOptions(options));
}

function createOptions(options: CreateRequest<'qcow2'>['options']): Qcow2CreateOptions {
  return {
    size: options.size,
    compat: options.version,
    clusterSize: options['cluster-size'],
    refcountBits: options['refcount-bits'],
    backingFile: options['backing-file'],
    backingFormat: options['backing-fmt'],
    compressionType: options['compression-type'],
    preallocation: options.preallocation,
  };
}

/** Every version after 1 (which is qcow) is qcow2's: a later one is refused by name, and not taken for something else. */
function probeQcow2(head: Uint8Array): number {
  return hasQcow2Magic(head) && new DataView(head.buffer, head.byteOffset).getUint32(Field.version) >= 2 ? 100 : 0;
}

export const qcow2Driver: DriverDefinition<'qcow2'> = {
  name: 'qcow2',
  kind: 'format',
  hasBacking: true,
  compresses: true,
  createOptions: QCOW2_CREATE_OPTIONS,
  detailOrder: QCOW2_DETAIL_ORDER,
  probe: probeQcow2,
  open: async (request: OpenRequest<'qcow2'>) => {
    const { graph, node, options, use, withBacking } = request;
    const file = await request.openChild('file', 'image');
    const image = await openQcow2(graph, node, file, options, { use, onlyHeader: !withBacking && node.readOnly });
    await openBacking(request, image);
    return image;
  },
  checkCreate: (options, path, host) => {
    planQcow2(path, createOptions(options));
    if (options['compression-type'] === 'zstd' && host?.codecs.supports('zstd') === false) {
      throw BlockError.at(path, 'unsupported', 'this build of diskwright has no zstd', { operation: 'create' });
    }
  },
  create,
};
