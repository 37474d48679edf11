// Plans a new qcow2 image: checks its options as `qemu-img create -o` does, computes the place of each part, and encodes the header. Nothing is written
// here: see create.ts.
//
//   | header | refcount table | refcount blocks | L1 table | LUKS header | L2 tables (preallocated) | data (preallocated) |

import { checkImageSize } from '../../../block/image-size.js';
import type { CompressionType } from '../../../host/host.js';
import type { BlockdevQcow2EncryptionFormat, PreallocMode } from '../../../schema/generated/types.js';
import { BlockError } from '../../../util/errors.js';
import { encodeName, nameLength } from '../../../util/name-bytes.js';
import { roundUp } from '../../../util/numbers.js';
import { CRYPT_AES } from '../encryption/legacy-aes.js';
import { CRYPT_LUKS, encodePointer } from './crypt.js';
import { encodeFeatureNames, FEATURE_NAMES_MIN_CLUSTER } from './features.js';
import {
  Autoclear,
  Compatible,
  Extension,
  encodeExtensions,
  encodeHeader,
  type HeaderExtension,
  Incompatible,
  type Qcow2Header,
  V2_HEADER_LENGTH,
  V3_WRITTEN_HEADER_LENGTH,
} from './header.js';
import {
  type ClusterIndex,
  type Geometry,
  type HostOffset,
  hostOf,
  l1EntriesFor,
  MAX_BACKING_NAME_BYTES,
  MAX_CLUSTER_BITS,
  MAX_L1_BYTES,
  MAX_REFCOUNT_TABLE_BYTES,
  MIN_CLUSTER_BITS,
  MIN_EXTENDED_CLUSTER_BITS,
  makeGeometry,
  NO_HOST,
  SECTOR,
} from './types.js';

export interface Qcow2CreateOptions {
  /** Virtual size, bytes; rounded up to a multiple of 512. */
  size: number;
  /** `0.10` and `v2` are version 2; `1.1` and `v3` (default) version 3. */
  compat?: string;
  /** Bytes, a power of two from 512 to 2 MiB; default 64 KiB. */
  clusterSize?: number;
  /** 1, 2, 4, ... 64; default 16. */
  refcountBits?: number;
  backingFile?: string | null;
  backingFormat?: string | null;
  compressionType?: CompressionType;
  preallocation?: PreallocMode;
  lazyRefcounts?: boolean;
  extendedL2?: boolean;
  /** How it is encrypted; null: not at all. */
  encryption?: PlannedEncryption | null;
  /** The name of the external data file; null: there is none. */
  dataFile?: string | null;
  /** The external data file reads as the disk does. */
  dataFileRaw?: boolean;
}

/** `room`: bytes of a LUKS header with its key material, 0 for the format that has none. */
export interface PlannedEncryption {
  format: BlockdevQcow2EncryptionFormat;
  room: number;
}

/** The parts of the new file in the picture's order. `size` is the guest's, in bytes; the others count clusters, L1 entries, L2 tables. */
export interface Layout {
  geometry: Geometry;
  size: number;
  tableClusters: number;
  blocks: number;
  l1Entries: number;
  l1Clusters: number;
  /** Clusters of the LUKS header. */
  cryptClusters: number;
  l2Tables: number;
  /** Guest clusters that have an entry from the start. */
  mapped: number;
  /** Those of them that lie in the image file. */
  dataClusters: number;
  total: number;
}

/** A raw data file reads as the disk does from the start: what lies there is mapped. */
export function preallocationOf({ preallocation = 'off', dataFileRaw = false }: Qcow2CreateOptions): PreallocMode {
  return dataFileRaw && preallocation === 'off' ? 'metadata' : preallocation;
}

function refuse(path: string, code: 'invalid-argument' | 'unsupported' | 'limit', message: string): BlockError {
  return BlockError.at(path, code, message, { operation: 'create' });
}

/**
 * Settles the geometry. Throws `invalid-argument` in QEMU's words. `measures`: as `qemu-img measure`, which takes
 * subclusters with each version.
 */
export function geometryFor(options: Qcow2CreateOptions, path: string, measures = false): Geometry {
  const { compat = '1.1', clusterSize = 65536, refcountBits = 16, extendedL2 = false } = options;
  if (!['0.10', 'v2', '1.1', 'v3'].includes(compat)) {
    throw refuse(path, 'invalid-argument', `Parameter 'version' does not accept value '${compat}'`);
  }
  const version = compat === '0.10' || compat === 'v2' ? 2 : 3;
  const clusterBits = Math.log2(clusterSize);
  if (!Number.isInteger(clusterBits) || clusterBits < MIN_CLUSTER_BITS || clusterBits > MAX_CLUSTER_BITS) {
    throw refuse(path, 'invalid-argument', 'Cluster size must be a power of two between 512 and 2048k');
  }
  if (extendedL2 && version === 2 && !measures) {
    throw refuse(
      path,
      'invalid-argument',
      'Extended L2 entries are only supported with compatibility level 1.1 and above (use version=v3 or greater)',
    );
  }
  if (extendedL2 && clusterBits < MIN_EXTENDED_CLUSTER_BITS) {
    const least = 2 ** MIN_EXTENDED_CLUSTER_BITS;
    throw refuse(
      path,
      'invalid-argument',
      `Extended L2 entries are only supported with cluster sizes of at least ${least} bytes`,
    );
  }
  const refcountOrder = Math.log2(refcountBits);
  if (!Number.isInteger(refcountOrder) || refcountOrder < 0 || refcountOrder > 6) {
    throw refuse(path, 'invalid-argument', 'Refcount width must be a power of two and may not exceed 64 bits');
  }
  return makeGeometry(version, clusterBits, refcountOrder, extendedL2);
}

/** Checks the options and settles the geometry. Messages are QEMU's. */
function checkOptions(options: Qcow2CreateOptions, path: string): Geometry {
  const { refcountBits = 16, preallocation = 'off', extendedL2 = false } = options;
  const geometry = geometryFor(options, path);
  const { version } = geometry;
  if (version === 2 && options.lazyRefcounts) {
    throw refuse(
      path,
      'invalid-argument',
      'Lazy refcounts only supported with compatibility level 1.1 and above (use version=v3 or greater)',
    );
  }
  if (version === 2 && refcountBits !== 16) {
    throw refuse(
      path,
      'invalid-argument',
      'Different refcount widths than 16 bits require compatibility level 1.1 or above (use version=v3 or greater)',
    );
  }
  if (version === 2 && options.compressionType === 'zstd') {
    throw refuse(
      path,
      'invalid-argument',
      'Non-zlib compression type is only supported with compatibility level 1.1 and above (use version=v3 or greater)',
    );
  }
  const { backingFile = null, backingFormat = null, dataFile = null, dataFileRaw = false } = options;
  if (dataFileRaw && dataFile === null) throw refuse(path, 'invalid-argument', 'data-file-raw requires data-file');
  if (dataFileRaw && backingFile !== null) {
    throw refuse(path, 'invalid-argument', 'Backing file and data-file-raw cannot be used at the same time');
  }
  if (dataFile !== null && version === 2) {
    throw refuse(
      path,
      'invalid-argument',
      'External data files are only supported with compatibility level 1.1 and above (use version=v3 or greater)',
    );
  }
  if (dataFile !== null && nameLength(dataFile) > MAX_BACKING_NAME_BYTES) {
    throw refuse(path, 'invalid-argument', 'Data file name too long');
  }
  if (backingFile === '') throw refuse(path, 'invalid-argument', 'Expected backing file name, got empty string');
  if (backingFile !== null && preallocation !== 'off' && !extendedL2) {
    throw refuse(
      path,
      'invalid-argument',
      'Backing file and preallocation can only be used at the same time if extended_l2 is on',
    );
  }
  if (backingFile === null && backingFormat !== null) {
    throw refuse(path, 'invalid-argument', 'Backing format cannot be used without backing file');
  }
  if (backingFile !== null && nameLength(backingFile) > MAX_BACKING_NAME_BYTES) {
    throw refuse(path, 'invalid-argument', 'Backing file name too long');
  }
  return geometry;
}

/** Numbers of refcount blocks and refcount table clusters for an image with `rest` other clusters; they have refcounts themselves. */
export function refcountClustersFor(geometry: Geometry, rest: number): { tableClusters: number; blocks: number } {
  let tableClusters = 1;
  let blocks = 1;
  for (;;) {
    const needBlocks = Math.ceil((rest + tableClusters + blocks) / geometry.blockEntries);
    const needTable = Math.max(1, Math.ceil((needBlocks * 8) / geometry.clusterSize));
    if (needBlocks <= blocks && needTable <= tableClusters) return { tableClusters, blocks };
    blocks = Math.max(blocks, needBlocks);
    tableClusters = Math.max(tableClusters, needTable);
  }
}

/** What a new image has from the start, in clusters. */
type Stored = Pick<Layout, 'l2Tables' | 'dataClusters'>;

/** `stored`: what the image holds; left out: what is preallocated. */
function makeLayout(geometry: Geometry, options: Qcow2CreateOptions, path: string, stored?: Stored): Layout {
  const size = roundUp(options.size, SECTOR);
  checkImageSize(size, path, 'create');
  const { clusterSize } = geometry;
  const l1Entries = l1EntriesFor(geometry, size);
  if (l1Entries > MAX_L1_BYTES / 8) {
    throw refuse(
      path,
      'limit',
      `The image size is too large for file format 'qcow2' (try using a larger cluster size)`,
    );
  }
  const preallocated = preallocationOf(options) !== 'off';
  const l1Clusters = Math.ceil((l1Entries * 8) / clusterSize);
  const l2Tables = stored?.l2Tables ?? (preallocated ? l1Entries : 0);
  const mapped = preallocated ? Math.ceil(size / clusterSize) : 0;
  const dataClusters = stored?.dataClusters ?? ((options.dataFile ?? null) === null ? mapped : 0);
  const cryptClusters = Math.ceil((options.encryption?.room ?? 0) / clusterSize);
  const rest = 1 + l1Clusters + cryptClusters + l2Tables + dataClusters;
  const { tableClusters, blocks } = refcountClustersFor(geometry, rest);
  if (tableClusters * clusterSize > MAX_REFCOUNT_TABLE_BYTES) {
    throw refuse(path, 'limit', 'The image is too large for its refcount table');
  }
  const total = rest + tableClusters + blocks;
  return {
    geometry,
    size,
    tableClusters,
    blocks,
    l1Entries,
    l1Clusters,
    cryptClusters,
    l2Tables,
    mapped,
    dataClusters,
    total,
  };
}

function makeHeaderBytes(layout: Layout, options: Qcow2CreateOptions): Uint8Array {
  const { geometry } = layout;
  const { version, clusterSize } = geometry;
  const { backingFile = null, backingFormat = null, dataFile = null, encryption = null } = options;
  const zstd = options.compressionType === 'zstd';
  const extensions: HeaderExtension[] = [];
  if (backingFormat !== null) {
    extensions.push({ type: Extension.backingFormat, data: encodeName(backingFormat) });
  }
  if (dataFile !== null) extensions.push({ type: Extension.dataFile, data: encodeName(dataFile) });
  if (layout.cryptClusters > 0) {
    const pointer = encodePointer(cryptPlace(layout), encryption?.room ?? 0);
    extensions.push({ type: Extension.encryption, data: pointer });
  }
  if (version === 3 && clusterSize >= FEATURE_NAMES_MIN_CLUSTER) {
    extensions.push({ type: Extension.featureNames, data: encodeFeatureNames() });
  }
  const headerLength = version === 2 ? V2_HEADER_LENGTH : V3_WRITTEN_HEADER_LENGTH;
  const area = encodeExtensions(extensions);
  const name = encodeName(backingFile ?? '');
  const header: Qcow2Header = {
    version,
    backingFileOffset: backingFile === null ? 0 : headerLength + area.length,
    backingFileSize: name.length,
    clusterBits: geometry.clusterBits,
    size: layout.size,
    cryptMethod: encryption === null ? 0 : encryption.format === 'aes' ? CRYPT_AES : CRYPT_LUKS,
    l1Size: layout.l1Entries,
    l1TableOffset: layout.l1Entries === 0 ? NO_HOST : place(layout, 1 + layout.tableClusters + layout.blocks),
    refcountTableOffset: place(layout, 1),
    refcountTableClusters: layout.tableClusters,
    nbSnapshots: 0,
    snapshotsOffset: 0,
    incompatibleFeatures:
      (zstd ? Incompatible.compression : 0n) |
      (dataFile === null ? 0n : Incompatible.dataFile) |
      (geometry.extendedL2 ? Incompatible.extendedL2 : 0n),
    compatibleFeatures: options.lazyRefcounts ? Compatible.lazyRefcounts : 0n,
    autoclearFeatures: options.dataFileRaw ? Autoclear.dataFileRaw : 0n,
    refcountOrder: geometry.refcountOrder,
    headerLength,
    compressionType: zstd ? 1 : 0,
    additional: new Uint8Array(0),
  };
  const bytes = new Uint8Array(headerLength + area.length + name.length);
  bytes.set(encodeHeader(header));
  bytes.set(area, headerLength);
  bytes.set(name, headerLength + area.length);
  return bytes;
}

/** Checks all options, and computes the layout and the header. Throws `invalid-argument`, `unsupported`, `limit`. */
export function planQcow2(path: string, options: Qcow2CreateOptions): { layout: Layout; headerBytes: Uint8Array } {
  return plan(path, options);
}

/**
 * The same of an image that is written in order, with all that it holds; its data is not encrypted, and lies in no other file. Throws as `planQcow2`, and `unsupported` for what
 * cannot be written so.
 */
export function planStreamed(
  path: string,
  options: Qcow2CreateOptions,
  stored: Stored,
): { layout: Layout; headerBytes: Uint8Array } {
  const { preallocation = 'off', dataFile = null, encryption = null } = options;
  const what =
    dataFile !== null
      ? 'a data file'
      : encryption !== null
        ? 'encryption'
        : preallocation !== 'off'
          ? 'preallocation'
          : '';
  if (what !== '') throw refuse(path, 'unsupported', `An image with ${what} cannot be written as a stream`);
  return plan(path, options, stored);
}

function plan(path: string, options: Qcow2CreateOptions, stored?: Stored): { layout: Layout; headerBytes: Uint8Array } {
  const geometry = checkOptions(options, path);
  const layout = makeLayout(geometry, options, path, stored);
  const headerBytes = makeHeaderBytes(layout, options);
  if (headerBytes.length > geometry.clusterSize) {
    throw refuse(path, 'invalid-argument', 'The header with the backing file name does not fit into one cluster');
  }
  return { layout, headerBytes };
}

/** Host offset of the LUKS header. */
export function cryptPlace(layout: Layout): HostOffset {
  return place(layout, 1 + layout.tableClusters + layout.blocks + layout.l1Clusters);
}

/** Host offset of cluster `cluster` of the new file. */
export function place({ geometry }: Layout, cluster: number): HostOffset {
  return hostOf(cluster as ClusterIndex, geometry);
}
