// The header of a damaged image, read field by field: each is judged alone, and what cannot be right is left out. What a person says counts more than any field.

import type { SalvageHints, SalvageLog } from '../../../block/salvage.js';
import { viewBe64, viewOf } from '../../../util/bytes.js';
import { BlockError } from '../../../util/errors.js';
import { decodeName } from '../../../util/name-bytes.js';
import { isPowerOfTwo, roundUp } from '../../../util/numbers.js';
import { CRYPT_LUKS } from './crypt.js';
import {
  Autoclear,
  Extension,
  extensionText,
  Field,
  type HeaderArea,
  type HeaderExtension,
  hasQcow2Magic,
  Incompatible,
  KNOWN_INCOMPATIBLE,
  V2_HEADER_LENGTH,
} from './header.js';
import { MAX_SNAPSHOTS } from './snapshot-table.js';
import {
  type HostOffset,
  MAX_BACKING_NAME_BYTES,
  MAX_CLUSTER_BITS,
  MAX_L1_BYTES,
  MIN_CLUSTER_BITS,
  SECTOR,
} from './types.js';

const V3_HEADER_LENGTH = 104;

/** What is known of the image; null: not known. Offsets and sizes are bytes and safe integers, but not checked against the file. */
export interface SalvagedHeader {
  /** There is one at all. */
  isFound: boolean;
  version: 2 | 3;
  clusterBits: number | null;
  /** Of the disk. */
  size: number | null;
  l1Offset: number | null;
  /** Entries. */
  l1Size: number | null;
  refcountTable: { offset: number; clusters: number };
  refcountOrder: number;
  /** The refcounts may be out of date. */
  isDirty: boolean;
  snapshots: { offset: number; count: number };
  cryptMethod: number;
  isExternal: boolean;
  /** The data file alone reads as the disk does. */
  isRaw: boolean;
  hasExtendedL2: boolean;
  compressionType: number;
  extensions: HeaderExtension[];
  backingFile: string | null;
  backingFormat: string | null;
  /** There is a backing file, and its name cannot be read. */
  lostBackingName: boolean;
}

const NOTHING: SalvagedHeader = {
  isFound: false,
  version: 3,
  clusterBits: null,
  size: null,
  l1Offset: null,
  l1Size: null,
  refcountTable: { offset: 0, clusters: 0 },
  refcountOrder: 4,
  isDirty: true,
  snapshots: { offset: 0, count: 0 },
  cryptMethod: 0,
  isExternal: false,
  isRaw: false,
  hasExtendedL2: false,
  compressionType: 0,
  extensions: [],
  backingFile: null,
  backingFormat: null,
  lostBackingName: false,
};

/** Refuses hints that no image can have. Throws `invalid-argument`. */
export function checkHints({ clusterSize, size, l1Offset, tables = [] }: SalvageHints): void {
  const refuse = (message: string): never => {
    throw new BlockError('invalid-argument', message);
  };
  const [smallest, largest] = [2 ** MIN_CLUSTER_BITS, 2 ** MAX_CLUSTER_BITS];
  if (clusterSize !== undefined) {
    if (!isPowerOfTwo(clusterSize) || clusterSize < smallest || clusterSize > largest) {
      refuse(`The cluster size must be a power of two between ${smallest} and ${largest}`);
    }
  }
  if (size !== undefined && (!Number.isSafeInteger(size) || size < 0 || size % SECTOR !== 0)) {
    refuse(`The size of the disk must be a multiple of ${SECTOR}`);
  }
  const offsets = [l1Offset, ...tables.flatMap(({ guest, host }) => [guest, host])];
  for (const offset of offsets) {
    if (
      offset !== undefined &&
      (!Number.isSafeInteger(offset) || offset < 0 || offset % (clusterSize ?? smallest) !== 0)
    ) {
      refuse('The offset of a table must be a multiple of the cluster size');
    }
  }
}

/** Reads what `head`, the first bytes of the file (a cluster, or what there is), says. */
export function salvageHeader(head: Uint8Array, log: SalvageLog): SalvagedHeader {
  if (!hasQcow2Magic(head) || head.length < V2_HEADER_LENGTH) return { ...NOTHING };
  const view = viewOf(head);
  const given = view.getUint32(Field.version);
  const isV2 = given === 2;
  if (given !== 2 && given !== 3) log.assumptions.push(`The header says version ${given}: it is read as version 3.`);
  const long = !isV2 && head.length >= V3_HEADER_LENGTH;
  const big = (at: number): bigint => (long ? view.getBigUint64(at) : 0n);
  const incompatible = big(Field.incompatibleFeatures);
  const unknown = incompatible & ~KNOWN_INCOMPATIBLE;
  if (unknown !== 0n) {
    log.assumptions.push(`The header has features that are not known (0x${unknown.toString(16)}): they are ignored.`);
  }
  if ((incompatible & Incompatible.corrupt) !== 0n) log.notes.push('The image is marked as corrupt.');
  const isDirty = (incompatible & Incompatible.dirty) !== 0n;
  if (isDirty) log.notes.push('The image was not closed properly.');
  const bits = view.getUint32(Field.clusterBits);
  const clusterBits = bits >= MIN_CLUSTER_BITS && bits <= MAX_CLUSTER_BITS ? bits : null;
  const order = long ? view.getUint32(Field.refcountOrder) : 4;
  const length = long ? view.getUint32(Field.headerLength) : V2_HEADER_LENGTH;
  const area = 2 ** (clusterBits ?? MIN_CLUSTER_BITS);
  const isLength = length >= (long ? V3_HEADER_LENGTH : V2_HEADER_LENGTH) && length % 8 === 0 && length <= area;
  const headerLength = isLength ? length : long ? V3_HEADER_LENGTH : V2_HEADER_LENGTH;
  const extensions = salvageExtensions(head.subarray(0, area), headerLength);
  const l1Size = view.getUint32(Field.l1Size);
  return {
    isFound: true,
    version: isV2 ? 2 : 3,
    clusterBits,
    size: sizeOf(view),
    l1Offset: offsetAt(view, Field.l1TableOffset),
    l1Size: l1Size > 0 && l1Size <= MAX_L1_BYTES / 8 ? l1Size : null,
    refcountTable: {
      offset: offsetAt(view, Field.refcountTableOffset) ?? 0,
      clusters: view.getUint32(Field.refcountTableClusters),
    },
    refcountOrder: order <= 6 ? order : 4,
    isDirty: isDirty || order > 6,
    snapshots: {
      offset: offsetAt(view, Field.snapshotsOffset) ?? 0,
      count: view.getUint32(Field.nbSnapshots),
    },
    cryptMethod: cryptMethodOf(view.getUint32(Field.cryptMethod), extensions, log),
    isExternal: (incompatible & Incompatible.dataFile) !== 0n,
    isRaw: (big(Field.autoclearFeatures) & Autoclear.dataFileRaw) !== 0n,
    hasExtendedL2: (incompatible & Incompatible.extendedL2) !== 0n,
    compressionType: headerLength > Field.compressionType ? head[Field.compressionType] : 0,
    extensions,
    ...backingOf(head, view, area, extensions, log),
  };
}

/** Null where it is no size that a disk can have. */
function sizeOf(view: DataView): number | null {
  const size = viewBe64(view, Field.size);
  return Number.isSafeInteger(size) ? size - (size % SECTOR) : null;
}

/** Null where no table can lie there, whatever the cluster size is. */
function offsetAt(view: DataView, at: number): number | null {
  const offset = viewBe64(view, at);
  return Number.isSafeInteger(offset) && offset > 0 && offset % 2 ** MIN_CLUSTER_BITS === 0 ? offset : null;
}

/** The extensions up to the first one that cannot be. */
function salvageExtensions(cluster: Uint8Array, from: number): HeaderExtension[] {
  const view = viewOf(cluster);
  const extensions: HeaderExtension[] = [];
  for (let at = from; at + 8 <= cluster.length; ) {
    const [type, length] = [view.getUint32(at), view.getUint32(at + 4)];
    if (type === Extension.end || length > cluster.length - at - 8) break;
    extensions.push({ type, data: cluster.slice(at + 8, at + 8 + length) });
    at += 8 + roundUp(length, 8);
  }
  return extensions;
}

/** What else the header has of the encryption counts where the method cannot be. */
function cryptMethodOf(method: number, extensions: readonly HeaderExtension[], log: SalvageLog): number {
  const hasLuks = extensions.some(({ type }) => type === Extension.encryption);
  if (hasLuks && method !== CRYPT_LUKS) {
    log.assumptions.push(
      'The header does not say that the disk is encrypted, but where the LUKS header lies: it counts as encrypted.',
    );
    return CRYPT_LUKS;
  }
  if (method <= CRYPT_LUKS) return method;
  log.assumptions.push(`The header says encryption method ${method}, which is none: the disk counts as not encrypted.`);
  return 0;
}

type Backing = Pick<SalvagedHeader, 'backingFile' | 'backingFormat' | 'lostBackingName'>;

function backingOf(
  head: Uint8Array,
  view: DataView,
  area: number,
  extensions: readonly HeaderExtension[],
  log: SalvageLog,
): Backing {
  const offset = viewBe64(view, Field.backingFileOffset);
  const length = view.getUint32(Field.backingFileSize);
  const backingFormat = extensionText(extensions, Extension.backingFormat);
  if (offset === 0) {
    if (backingFormat === null) return { backingFile: null, backingFormat: null, lostBackingName: false };
  } else if (offset >= V2_HEADER_LENGTH && length > 0 && length <= MAX_BACKING_NAME_BYTES && offset + length <= area) {
    const name = head.subarray(offset, offset + length);
    const nul = name.indexOf(0);
    const backingFile = decodeName(nul < 0 ? name : name.subarray(0, nul));
    if (backingFile !== '') return { backingFile, backingFormat, lostBackingName: false };
  }
  log.notes.push('The header names a backing file, but the name cannot be read.');
  return { backingFile: null, backingFormat, lostBackingName: true };
}

/** The header for parts of the driver that ask for a whole one: what is not known is zero. */
export function areaOf(header: SalvagedHeader, extensions: HeaderExtension[]): HeaderArea {
  const bit = (is: boolean, mask: bigint): bigint => (is ? mask : 0n);
  return {
    header: {
      version: header.version,
      backingFileOffset: 0,
      backingFileSize: 0,
      clusterBits: header.clusterBits ?? MIN_CLUSTER_BITS,
      size: header.size ?? 0,
      cryptMethod: header.cryptMethod,
      l1Size: header.l1Size ?? 0,
      l1TableOffset: (header.l1Offset ?? 0) as HostOffset,
      refcountTableOffset: header.refcountTable.offset as HostOffset,
      refcountTableClusters: header.refcountTable.clusters,
      nbSnapshots: Math.min(header.snapshots.count, MAX_SNAPSHOTS),
      snapshotsOffset: header.snapshots.offset,
      incompatibleFeatures:
        bit(header.isExternal, Incompatible.dataFile) | bit(header.hasExtendedL2, Incompatible.extendedL2),
      compatibleFeatures: 0n,
      autoclearFeatures: bit(header.isRaw, Autoclear.dataFileRaw),
      refcountOrder: header.refcountOrder,
      headerLength: V3_HEADER_LENGTH,
      compressionType: header.compressionType,
      additional: new Uint8Array(0),
    },
    extensions,
    backingFile: header.backingFile,
  };
}
