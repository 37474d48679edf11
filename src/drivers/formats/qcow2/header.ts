// The qcow2 header: layout, codec and header extensions (specification: "Header", "Header extensions").
//
//   0        72 (v2)    104     header_length            backing_file_offset      cluster end
//   | fixed   | features | more  | ext | ext | ... | end  | backing file name       |

import { checkImageSize } from '../../../block/image-size.js';
import { putViewBe64, viewBe64, viewOf } from '../../../util/bytes.js';
import { BlockError } from '../../../util/errors.js';
import { decodeName } from '../../../util/name-bytes.js';
import {
  type Geometry,
  type HostOffset,
  l1EntriesFor,
  MAX_BACKING_NAME_BYTES,
  MAX_CLUSTER_BITS,
  MAX_L1_BYTES,
  MAX_REFCOUNT_TABLE_BYTES,
  MIN_EXTENDED_CLUSTER_BITS,
  makeGeometry,
  SECTOR,
  SUBCLUSTERS,
} from './types.js';

/** QEMU's limits, and ours. An L1 table of so many entries would be too long in any case; the limit is for the message. */
const MAX_SNAPSHOTS = 65536;
const MAX_L1_ENTRIES = 2 ** 31 - 1;
const QCOW2_MAGIC = 0x514649fb;

/** Byte offsets of the fields. */
export const Field = {
  magic: 0,
  version: 4,
  backingFileOffset: 8,
  backingFileSize: 16,
  clusterBits: 20,
  size: 24,
  cryptMethod: 32,
  l1Size: 36,
  l1TableOffset: 40,
  refcountTableOffset: 48,
  refcountTableClusters: 56,
  nbSnapshots: 60,
  snapshotsOffset: 64,
  incompatibleFeatures: 72,
  compatibleFeatures: 80,
  autoclearFeatures: 88,
  refcountOrder: 96,
  headerLength: 100,
  compressionType: 104,
} as const;

export const V2_HEADER_LENGTH = 72;
const V3_HEADER_LENGTH = 104;
export const V3_WRITTEN_HEADER_LENGTH = 112;

export const Incompatible = {
  dirty: 1n << 0n,
  corrupt: 1n << 1n,
  dataFile: 1n << 2n,
  compression: 1n << 3n,
  extendedL2: 1n << 4n,
} as const;
export const Compatible = { lazyRefcounts: 1n << 0n } as const;
export const Autoclear = { bitmaps: 1n << 0n, dataFileRaw: 1n << 1n } as const;

/** Whoever writes an image clears the others. */
export const KNOWN_AUTOCLEAR = Autoclear.bitmaps | Autoclear.dataFileRaw;

export const KNOWN_INCOMPATIBLE = 0x1fn;

export const Extension = {
  end: 0,
  backingFormat: 0xe2792aca,
  featureNames: 0x6803f857,
  bitmaps: 0x23852875,
  encryption: 0x0537be77,
  dataFile: 0x44415441,
} as const;

export interface HeaderExtension {
  type: number;
  data: Uint8Array;
}

/** The header's fields. Offsets and sizes are bytes and safe integers. */
export interface Qcow2Header {
  version: 2 | 3;
  backingFileOffset: number;
  backingFileSize: number;
  clusterBits: number;
  /** Virtual size in bytes, rounded down to whole sectors, as QEMU does. */
  size: number;
  cryptMethod: number;
  /** Entries. */
  l1Size: number;
  l1TableOffset: HostOffset;
  refcountTableOffset: HostOffset;
  refcountTableClusters: number;
  nbSnapshots: number;
  snapshotsOffset: number;
  incompatibleFeatures: bigint;
  compatibleFeatures: bigint;
  autoclearFeatures: bigint;
  refcountOrder: number;
  headerLength: number;
  /** 0 = zlib (raw deflate), 1 = zstd. */
  compressionType: number;
  /** Bytes 112 up to `headerLength`: fields that a later version of the format defines, kept as they are. */
  additional: Uint8Array;
}

/** The header with everything else in the first cluster. */
export interface HeaderArea {
  header: Qcow2Header;
  /** In the order of the file, unknown ones too. */
  extensions: HeaderExtension[];
  backingFile: string | null;
}

/** The fields that the sizes of an image follow from. */
type Shape = Pick<Qcow2Header, 'version' | 'clusterBits' | 'refcountOrder' | 'incompatibleFeatures'>;

export function hasExtendedL2({ incompatibleFeatures }: Pick<Shape, 'incompatibleFeatures'>): boolean {
  return (incompatibleFeatures & Incompatible.extendedL2) !== 0n;
}

/** The sizes that follow from a header. */
export function geometryOf(header: Shape): Geometry {
  return makeGeometry(header.version, header.clusterBits, header.refcountOrder, hasExtendedL2(header));
}

/** True where `head`, the start of a file, has the magic number of qcow (all versions). */
export function hasQcow2Magic(head: Uint8Array): boolean {
  if (head.length < 8) return false;
  return viewOf(head).getUint32(0) === QCOW2_MAGIC;
}

function invalid(path: string, message: string, offset = 0): BlockError {
  return BlockError.at(path, 'invalid-image', message, { offset, operation: 'open' });
}

/** Reads a 64-bit offset. Throws `invalid-image` where it is not a safe integer. */
function readOffset(view: DataView, at: number, path: string, message: string): HostOffset {
  const value = viewBe64(view, at);
  if (!Number.isSafeInteger(value)) throw invalid(path, message, at);
  return value as HostOffset;
}

/** Reads the virtual size. Throws `limit` beyond 2^53 - 1, where QEMU would open the image. */
function readSize(view: DataView, path: string): number {
  const size = view.getBigUint64(Field.size);
  checkImageSize(size, path, 'open');
  return Number(size);
}

/**
 * Decodes the fixed part from the first bytes of the file (at least 104, or what the file has) and checks each field by itself:
 * version, cluster size, refcount width, header length, alignment and size of the tables. `forRepair`: there may be more snapshots than the limit.
 * Throws `invalid-image`, and `unsupported` for a version that is not 2 or 3.
 */
export function parseHeader(head: Uint8Array, path: string, { forRepair = false } = {}): Qcow2Header {
  if (!hasQcow2Magic(head)) throw invalid(path, 'Image is not in qcow2 format');
  const view = viewOf(head);
  const version = view.getUint32(Field.version);
  if (version !== 2 && version !== 3) {
    throw BlockError.at(path, 'unsupported', `Unsupported qcow2 version ${version}`, { operation: 'open' });
  }
  if (head.length < (version === 2 ? V2_HEADER_LENGTH : V3_HEADER_LENGTH))
    throw invalid(path, 'qcow2 header too short');
  const header: Qcow2Header = {
    version,
    backingFileOffset: readOffset(view, Field.backingFileOffset, path, 'Invalid backing file offset'),
    backingFileSize: view.getUint32(Field.backingFileSize),
    clusterBits: view.getUint32(Field.clusterBits),
    size: readSize(view, path),
    cryptMethod: view.getUint32(Field.cryptMethod),
    l1Size: view.getUint32(Field.l1Size),
    l1TableOffset: readOffset(view, Field.l1TableOffset, path, 'Active L1 table offset invalid'),
    refcountTableOffset: readOffset(view, Field.refcountTableOffset, path, 'Reference count table offset invalid'),
    refcountTableClusters: view.getUint32(Field.refcountTableClusters),
    nbSnapshots: view.getUint32(Field.nbSnapshots),
    snapshotsOffset: readOffset(view, Field.snapshotsOffset, path, 'Snapshot table offset invalid'),
    incompatibleFeatures: version === 2 ? 0n : view.getBigUint64(Field.incompatibleFeatures),
    compatibleFeatures: version === 2 ? 0n : view.getBigUint64(Field.compatibleFeatures),
    autoclearFeatures: version === 2 ? 0n : view.getBigUint64(Field.autoclearFeatures),
    refcountOrder: version === 2 ? 4 : view.getUint32(Field.refcountOrder),
    headerLength: version === 2 ? V2_HEADER_LENGTH : view.getUint32(Field.headerLength),
    compressionType: 0,
    additional: new Uint8Array(0),
  };
  checkFields(header, path, forRepair);
  header.size -= header.size % SECTOR;
  if (header.headerLength > head.length) throw invalid(path, 'qcow2 header exceeds the file', Field.headerLength);
  if (header.headerLength > Field.compressionType) header.compressionType = head[Field.compressionType];
  if (header.headerLength > V3_WRITTEN_HEADER_LENGTH) {
    header.additional = head.slice(V3_WRITTEN_HEADER_LENGTH, header.headerLength);
  }
  checkCompression(header, path);
  return header;
}

function checkFields(header: Qcow2Header, path: string, forRepair: boolean): void {
  const { clusterBits } = header;
  if (clusterBits < 9 || clusterBits > MAX_CLUSTER_BITS) {
    throw invalid(path, `Unsupported cluster size: 2^${clusterBits}`, Field.clusterBits);
  }
  const clusterSize = 2 ** clusterBits;
  if (header.version === 3) {
    if (header.headerLength < V3_HEADER_LENGTH) throw invalid(path, 'qcow2 header too short', Field.headerLength);
    if (header.headerLength > clusterSize) throw invalid(path, 'qcow2 header exceeds cluster size', Field.headerLength);
    if (header.headerLength % 8 !== 0)
      throw invalid(path, 'qcow2 header length is no multiple of 8', Field.headerLength);
    if (header.refcountOrder > 6) {
      throw invalid(path, 'Reference count entry width too large; may not exceed 64 bits', Field.refcountOrder);
    }
  }
  if (header.backingFileOffset !== 0) {
    if (header.backingFileOffset > clusterSize || header.backingFileOffset < header.headerLength) {
      throw invalid(path, 'Invalid backing file offset', Field.backingFileOffset);
    }
    const room = Math.min(MAX_BACKING_NAME_BYTES, clusterSize - header.backingFileOffset);
    if (header.backingFileSize > room) throw invalid(path, 'Backing file name too long', Field.backingFileSize);
  }
  if (header.cryptMethod > 2) {
    throw BlockError.at(path, 'unsupported', `Unsupported encryption method ${header.cryptMethod}`, {
      offset: Field.cryptMethod,
      operation: 'open',
    });
  }
  const misplaced = (offset: number): boolean => offset % clusterSize !== 0;
  if (header.refcountTableClusters === 0) {
    throw invalid(path, 'Image does not contain a reference count table', Field.refcountTableClusters);
  }
  if (header.refcountTableClusters * clusterSize > MAX_REFCOUNT_TABLE_BYTES) {
    throw invalid(path, 'Reference count table too large', Field.refcountTableClusters);
  }
  if (header.refcountTableOffset === 0 || misplaced(header.refcountTableOffset)) {
    throw invalid(path, 'Reference count table offset invalid', Field.refcountTableOffset);
  }
  if (header.nbSnapshots > MAX_SNAPSHOTS && !forRepair)
    throw invalid(path, 'Snapshot table too large', Field.nbSnapshots);
  if (misplaced(header.snapshotsOffset)) throw invalid(path, 'Snapshot table offset invalid', Field.snapshotsOffset);
  if (header.l1Size > MAX_L1_BYTES / 8) throw invalid(path, 'Active L1 table too large', Field.l1Size);
  if (misplaced(header.l1TableOffset)) throw invalid(path, 'Active L1 table offset invalid', Field.l1TableOffset);
  if (hasExtendedL2(header) && clusterBits < MIN_EXTENDED_CLUSTER_BITS) {
    throw invalid(path, `Unsupported subcluster size: ${clusterSize / SUBCLUSTERS}`, Field.clusterBits);
  }
  const needed = l1EntriesFor(geometryOf(header), header.size);
  if (needed > MAX_L1_ENTRIES) throw invalid(path, 'Image is too big', Field.size);
  if (needed > header.l1Size) throw invalid(path, 'L1 table is too small', Field.l1Size);
  if (header.l1Size > 0 && header.l1TableOffset === 0) {
    throw invalid(path, 'Active L1 table offset invalid', Field.l1TableOffset);
  }
}

function checkCompression(header: Qcow2Header, path: string): void {
  const flagged = (header.incompatibleFeatures & Incompatible.compression) !== 0n;
  if (header.compressionType > 1) {
    throw BlockError.at(path, 'unsupported', `qcow2: unknown compression type: ${header.compressionType}`, {
      offset: Field.compressionType,
      operation: 'open',
    });
  }
  if (flagged && header.compressionType === 0) {
    throw invalid(path, 'qcow2: Compression type incompatible feature bit must not be set', Field.compressionType);
  }
  if (!flagged && header.compressionType !== 0) {
    throw invalid(path, 'qcow2: Compression type incompatible feature bit must be set', Field.compressionType);
  }
}

/** Decodes header extensions and the backing file's name from the first cluster. Throws `invalid-image`. */
export function parseHeaderArea(cluster: Uint8Array, header: Qcow2Header, path: string): HeaderArea {
  const view = viewOf(cluster);
  const end = header.backingFileOffset !== 0 ? header.backingFileOffset : cluster.length;
  const extensions: HeaderExtension[] = [];
  let at = header.headerLength;
  while (at + 8 <= cluster.length && at < end) {
    const type = view.getUint32(at);
    const length = view.getUint32(at + 4);
    at += 8;
    if (length > end - at) throw invalid(path, overlong(type, length), at - 4);
    if (type === Extension.end) break;
    extensions.push({ type, data: cluster.slice(at, at + length) });
    at += Math.ceil(length / 8) * 8;
  }
  let backingFile: string | null = null;
  if (header.backingFileOffset !== 0) {
    const { backingFileOffset: from, backingFileSize: size } = header;
    const name = cluster.subarray(from, from + size);
    const nul = name.indexOf(0);
    // To QEMU a name ends at a zero byte, and an empty one is none.
    backingFile = decodeName(nul < 0 ? name : name.subarray(0, nul)) || null;
  }
  return { header, extensions, backingFile };
}

/** The message for an extension that does not end before the header's area does. Those of a fixed length are wrong by their length, wherever they end. */
function overlong(type: number, length: number): string {
  if (type === Extension.encryption) return `CRYPTO header extension size ${length}, but expected size 16`;
  if (type === Extension.bitmaps) return 'bitmaps_ext: Invalid extension length';
  return 'Header extension too large';
}

/** Encodes the fields alone, `headerLength` bytes. */
export function encodeHeader(header: Qcow2Header): Uint8Array {
  const bytes = new Uint8Array(header.headerLength);
  const view = viewOf(bytes);
  view.setUint32(Field.magic, QCOW2_MAGIC);
  view.setUint32(Field.version, header.version);
  putViewBe64(view, Field.backingFileOffset, header.backingFileOffset);
  view.setUint32(Field.backingFileSize, header.backingFileSize);
  view.setUint32(Field.clusterBits, header.clusterBits);
  putViewBe64(view, Field.size, header.size);
  view.setUint32(Field.cryptMethod, header.cryptMethod);
  view.setUint32(Field.l1Size, header.l1Size);
  putViewBe64(view, Field.l1TableOffset, header.l1TableOffset);
  putViewBe64(view, Field.refcountTableOffset, header.refcountTableOffset);
  view.setUint32(Field.refcountTableClusters, header.refcountTableClusters);
  view.setUint32(Field.nbSnapshots, header.nbSnapshots);
  putViewBe64(view, Field.snapshotsOffset, header.snapshotsOffset);
  if (header.version === 2) return bytes;
  view.setBigUint64(Field.incompatibleFeatures, header.incompatibleFeatures);
  view.setBigUint64(Field.compatibleFeatures, header.compatibleFeatures);
  view.setBigUint64(Field.autoclearFeatures, header.autoclearFeatures);
  view.setUint32(Field.refcountOrder, header.refcountOrder);
  view.setUint32(Field.headerLength, header.headerLength);
  if (header.headerLength > Field.compressionType) bytes[Field.compressionType] = header.compressionType;
  bytes.set(header.additional, V3_WRITTEN_HEADER_LENGTH > header.headerLength ? 0 : V3_WRITTEN_HEADER_LENGTH);
  return bytes;
}

/** Encodes the extensions with the end marker. */
export function encodeExtensions(extensions: readonly HeaderExtension[]): Uint8Array {
  const total = extensions.reduce((sum, { data }) => sum + 8 + Math.ceil(data.length / 8) * 8, 8);
  const bytes = new Uint8Array(total);
  const view = viewOf(bytes);
  let at = 0;
  for (const { type, data } of extensions) {
    view.setUint32(at, type);
    view.setUint32(at + 4, data.length);
    bytes.set(data, at + 8);
    at += 8 + Math.ceil(data.length / 8) * 8;
  }
  return bytes;
}

/** The text of a string extension, null where it is absent. */
export function extensionText(extensions: readonly HeaderExtension[], type: number): string | null {
  const found = extensions.find((extension) => extension.type === type);
  return found === undefined ? null : decodeName(found.data);
}
