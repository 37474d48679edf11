// The header of a QED image, and the meaning of its entries.
//
//   | header, perhaps the backing file's name | L1 table | cluster | L2 table | cluster | ...
//   <---- header size, in clusters ---------->            ^ of `cluster size` bytes
//
// All numbers are little-endian. An entry is 64 bits: of L1, the offset of an L2 table, or 0; of L2, the offset of a cluster, 0: there is none, or 1: zeroes.
// One of more than 53 bits is not read exactly, and is larger than any file.
// Source: QEMU's docs/interop/qed_spec ("QED Image File Format Specification").

import { MAX_BACKING_NAME_BYTES } from '../../../block/backing-name.js';
import type { Child } from '../../../block/child.js';
import { viewOf } from '../../../util/bytes.js';
import { BlockError } from '../../../util/errors.js';
import { decodeName } from '../../../util/name-bytes.js';
import { isPowerOfTwo, SECTOR_BYTES } from '../../../util/numbers.js';
import { nameBehind, readHeadAndName } from '../blocks/head-and-name.js';

export const HEADER_BYTES = 64;
export const ENTRY_BYTES = 8;
export const UNALLOCATED = 0;
export const ZERO_ENTRY = 1;

export const MIN_CLUSTER_BYTES = 1 << 12;
export const MAX_CLUSTER_BYTES = 1 << 26;
export const MAX_TABLE_CLUSTERS = 16;

const MAGIC = 0x0044_4551;

/** Bits of `features`: an image with others cannot be opened. */
export const Feature = { backingFile: 1, needCheck: 2, backingIsRaw: 4 } as const;
const KNOWN_FEATURES = 7n;

export const Field = {
  magic: 0,
  clusterBytes: 4,
  tableClusters: 8,
  headerClusters: 12,
  features: 16,
  compatFeatures: 24,
  autoclearFeatures: 32,
  l1Offset: 40,
  diskBytes: 48,
  backingNameOffset: 56,
  backingNameBytes: 60,
} as const;

export interface Header {
  clusterBytes: number;
  tableClusters: number;
  headerClusters: number;
  features: number;
  /** Features that a program which does not know them clears when it writes to the image; none is defined. */
  autoclearFeatures: bigint;
  l1Offset: number;
  /** Bytes of the disk: whole sectors. */
  size: number;
  /** Place of the backing file's name; 0 where there never was one. */
  backingNameOffset: number;
  backingNameBytes: number;
}

/** Entries of a table: of L1, and of each L2. */
export function tableEntries({ clusterBytes, tableClusters }: Pick<Header, 'clusterBytes' | 'tableClusters'>): number {
  return (clusterBytes * tableClusters) / ENTRY_BYTES;
}

/** Bytes of the largest disk, as QEMU computes them: with 64 bits. */
export function maxDiskBytes(shape: Pick<Header, 'clusterBytes' | 'tableClusters'>): bigint {
  const entries = BigInt(tableEntries(shape));
  return BigInt.asUintN(64, entries * entries * BigInt(shape.clusterBytes));
}

export function isClusterSize(bytes: number): boolean {
  return bytes >= MIN_CLUSTER_BYTES && bytes <= MAX_CLUSTER_BYTES && isPowerOfTwo(bytes);
}

export function isTableSize(clusters: number): boolean {
  return clusters <= MAX_TABLE_CLUSTERS && isPowerOfTwo(clusters);
}

/** The header, and behind it the name of the backing file where there is one within the limits. */
export function readHead(link: Child): Promise<Uint8Array> {
  return readHeadAndName(link, HEADER_BYTES, MAX_BACKING_NAME_BYTES + 1, (view) => {
    if ((view.getUint32(Field.features, true) & Feature.backingFile) === 0) return null;
    return {
      offset: view.getUint32(Field.backingNameOffset, true),
      length: view.getUint32(Field.backingNameBytes, true),
    };
  });
}

export interface ParsedHead {
  header: Header;
  /** Null: none. */
  backingFile: string | null;
}

/** `head`: what `readHead` has read of a file of `fileBytes`. Throws `invalid-image`, `unsupported`, `limit`, in QEMU's words where QEMU refuses the image, too. */
export function parseHead(head: Uint8Array, fileBytes: number, path: string): ParsedHead {
  const fail = (code: 'invalid-image' | 'unsupported' | 'limit', reason: string): never => {
    throw BlockError.at(path, code, reason, { operation: 'open' });
  };
  const bytes = new Uint8Array(HEADER_BYTES);
  bytes.set(head.subarray(0, HEADER_BYTES));
  const view = new DataView(bytes.buffer);
  const at = (field: number): number => view.getUint32(field, true);
  if (at(Field.magic) !== MAGIC) fail('invalid-image', 'Image not in QED format');
  const features = view.getBigUint64(Field.features, true);
  const unknown = features & ~KNOWN_FEATURES;
  if (unknown !== 0n) fail('unsupported', `Unsupported QED features: ${unknown.toString(16)}`);
  const clusterBytes = at(Field.clusterBytes);
  if (!isClusterSize(clusterBytes)) fail('invalid-image', 'QED cluster size is invalid');
  const tableClusters = at(Field.tableClusters);
  if (!isTableSize(tableClusters)) fail('invalid-image', 'QED table size is invalid');
  const shape = { clusterBytes, tableClusters };
  const headerClusters = at(Field.headerClusters);
  const l1Offset = Number(view.getBigUint64(Field.l1Offset, true));
  const l1End = l1Offset + tableClusters * clusterBytes;
  const isPlaced = l1Offset % clusterBytes === 0 && l1Offset >= Math.max(headerClusters * clusterBytes, HEADER_BYTES);
  if (!isPlaced || l1End > fileBytes) fail('invalid-image', 'QED table offset is invalid');
  const size = view.getBigUint64(Field.diskBytes, true);
  if (size % BigInt(SECTOR_BYTES) !== 0n || size > maxDiskBytes(shape)) {
    fail('invalid-image', 'QED image size is invalid');
  }
  if (size > BigInt(Number.MAX_SAFE_INTEGER)) fail('limit', 'The QED image is too large');
  const header: Header = {
    ...shape,
    headerClusters,
    features: Number(features),
    autoclearFeatures: view.getBigUint64(Field.autoclearFeatures, true),
    l1Offset,
    size: Number(size),
    backingNameOffset: at(Field.backingNameOffset),
    backingNameBytes: at(Field.backingNameBytes),
  };
  return { header, backingFile: backingFileIn(header, head, fail) };
}

function backingFileIn(
  { features, clusterBytes, headerClusters, backingNameOffset: offset, backingNameBytes: length }: Header,
  head: Uint8Array,
  fail: (code: 'invalid-image' | 'limit', reason: string) => never,
): string | null {
  if ((features & Feature.backingFile) === 0) return null;
  if (offset + length > headerClusters * clusterBytes) fail('invalid-image', 'QED backing filename offset is invalid');
  const text = nameBehind(head, HEADER_BYTES);
  if (text.length > MAX_BACKING_NAME_BYTES) fail('limit', 'The QED backing filename is too long');
  return text.length === 0 ? null : decodeName(text);
}

/** Changes `bytes`, which are a header or begin with one, to say what `header` says. Compatible features stay as they are. */
export function putHeader(bytes: Uint8Array, header: Header): void {
  const view = viewOf(bytes);
  const set = (field: number, value: number): void => view.setUint32(field, value, true);
  set(Field.magic, MAGIC);
  set(Field.clusterBytes, header.clusterBytes);
  set(Field.tableClusters, header.tableClusters);
  set(Field.headerClusters, header.headerClusters);
  view.setBigUint64(Field.features, BigInt(header.features), true);
  view.setBigUint64(Field.autoclearFeatures, header.autoclearFeatures, true);
  view.setBigUint64(Field.l1Offset, BigInt(header.l1Offset), true);
  view.setBigUint64(Field.diskBytes, BigInt(header.size), true);
  set(Field.backingNameOffset, header.backingNameOffset);
  set(Field.backingNameBytes, header.backingNameBytes);
}

/** `clusters` can lie at `offset` of a file of `fileBytes`, of which a part of a cluster at its end does not count. */
export function isInside(header: Header, offset: number, clusters: number, fileBytes: number): boolean {
  const { clusterBytes, headerClusters } = header;
  const end = fileBytes - (fileBytes % clusterBytes);
  const first = Math.max(headerClusters, 1) * clusterBytes;
  return offset % clusterBytes === 0 && offset >= first && offset + clusters * clusterBytes <= end;
}
