// The footer of a VHD image: what kind of image it is, and how large its disk. It is the last sector of the file, and a dynamic or differencing image begins with a copy of it.
//
// All numbers are big-endian. Source: Microsoft's "Virtual Hard Disk Image Format Specification", version 1.0.

import { getBe16, getBe32, getBe64, putBe16, putBe32, putBe64 } from '../../../util/bytes.js';
import { BlockError } from '../../../util/errors.js';
import { hasMagic, latin1 } from '../../../util/magic.js';
import { roundDown, SECTOR_BYTES } from '../../../util/numbers.js';
import { randomUuid } from '../../../util/uuid.js';
import { type Geometry, isMaxGeometry, sectorsOf } from './geometry.js';

export const FOOTER_BYTES = 512;
export const FOOTER_COOKIE = 'conectix';
/** The largest disk, 2040 GiB, as QEMU's: the places of its blocks still have numbers of 32 bits. */
export const MAX_DISK_BYTES = 0xff00_0000 * SECTOR_BYTES;
/** The wall clock when the format's time begins: 2000-01-01, in seconds since 1970. */
const EPOCH_SECONDS = 946_684_800;

export const Kind = { fixed: 2, dynamic: 3, differencing: 4 } as const;

const FooterField = {
  cookie: 0,
  features: 8,
  version: 12,
  dataOffset: 16,
  time: 24,
  creator: 28,
  creatorVersion: 32,
  creatorHost: 36,
  originalBytes: 40,
  currentBytes: 48,
  cylinders: 56,
  heads: 58,
  sectorsPerTrack: 59,
  kind: 60,
  checksum: 64,
  uuid: 68,
} as const;

/** Programs whose images have the disk of the footer's current size; those of others, of the geometry. As for QEMU. */
const BY_CURRENT_SIZE: readonly string[] = ['win ', 'qem2', 'd2v ', 'tap\0', 'CTXS'];
/** What QEMU writes: `qem2` says that the current size counts. */
const CREATOR = { geometry: 'qemu', currentSize: 'qem2' } as const;
const CREATOR_VERSION = 0x0005_0003;
const CREATOR_HOST = 'Wi2k';
const RESERVED_FEATURE = 2;
const VERSION = 0x0001_0000;

export interface Footer {
  /** One of `Kind`; another number is read as dynamic, as by QEMU. */
  kind: number;
  /** Of the header of a dynamic or differencing image: bytes in the file. */
  dataOffset: number;
  creator: string;
  currentBytes: number;
  geometry: Geometry;
  /** Hexadecimal digits. */
  uuid: string;
}

/** The complement of the sum of all bytes but those of the checksum itself, which lies at `at`. */
export function checksumOf(bytes: Uint8Array, at: number): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i++) if (i < at || i >= at + 4) sum += bytes[i];
  return ~sum >>> 0;
}

export function hasChecksum(bytes: Uint8Array, at: number): boolean {
  return getBe32(bytes, at) === checksumOf(bytes, at);
}

/** A footer with the right checksum. */
export function isFooter(bytes: Uint8Array): boolean {
  return hasMagic(bytes, FOOTER_COOKIE) && hasChecksum(bytes, FooterField.checksum);
}

export function hexOf(bytes: Uint8Array, at: number, length: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + at, length).toString('hex');
}

export function parseFooter(bytes: Uint8Array): Footer {
  return {
    kind: getBe32(bytes, FooterField.kind),
    dataOffset: getBe64(bytes, FooterField.dataOffset),
    creator: latin1(bytes, FooterField.creator, 4),
    currentBytes: getBe64(bytes, FooterField.currentBytes),
    geometry: {
      cylinders: getBe16(bytes, FooterField.cylinders),
      heads: bytes[FooterField.heads],
      sectorsPerTrack: bytes[FooterField.sectorsPerTrack],
    },
    uuid: hexOf(bytes, FooterField.uuid, 16),
  };
}

/**
 * Bytes of the disk. `rule` is that of the open option `force_size_calc`: `chs`, `current_size`; left out: by the program that made the image. Throws `invalid-argument` for
 * another one, `limit` for a disk that is too large.
 */
export function diskBytes({ geometry, currentBytes, creator }: Footer, rule: string | undefined, path: string): number {
  if (rule !== undefined && rule !== 'chs' && rule !== 'current_size') {
    throw BlockError.at(path, 'invalid-argument', `Invalid size calculation mode: '${rule}'`, { operation: 'open' });
  }
  const byGeometry = rule === undefined ? !BY_CURRENT_SIZE.includes(creator) : rule === 'chs';
  const size =
    byGeometry && !isMaxGeometry(geometry) ? sectorsOf(geometry) * SECTOR_BYTES : roundDown(currentBytes, SECTOR_BYTES);
  if (size <= MAX_DISK_BYTES) return size;
  throw BlockError.at(path, 'limit', 'File too large', { operation: 'open' });
}

export interface NewFooter {
  kind: number;
  /** Of the header; null where there is none. */
  dataOffset: number | null;
  size: number;
  geometry: Geometry;
  /** The current size counts, and not the geometry. */
  byCurrentSize: boolean;
}

/** The footer of a new image. `seconds` since 1970; `random`: 32 random bits. */
export function encodeFooter(footer: NewFooter, seconds: number, random: () => number): Uint8Array {
  const bytes = new Uint8Array(FOOTER_BYTES);
  const text = (at: number, value: string): void => bytes.set(Buffer.from(value, 'latin1'), at);
  text(FooterField.cookie, FOOTER_COOKIE);
  putBe32(bytes, FooterField.features, RESERVED_FEATURE);
  putBe32(bytes, FooterField.version, VERSION);
  putOffset(bytes, FooterField.dataOffset, footer.dataOffset);
  putBe32(bytes, FooterField.time, Math.max(0, seconds - EPOCH_SECONDS));
  text(FooterField.creator, footer.byCurrentSize ? CREATOR.currentSize : CREATOR.geometry);
  putBe32(bytes, FooterField.creatorVersion, CREATOR_VERSION);
  text(FooterField.creatorHost, CREATOR_HOST);
  putBe64(bytes, FooterField.originalBytes, footer.size);
  putBe64(bytes, FooterField.currentBytes, footer.size);
  putBe16(bytes, FooterField.cylinders, footer.geometry.cylinders);
  bytes[FooterField.heads] = footer.geometry.heads;
  bytes[FooterField.sectorsPerTrack] = footer.geometry.sectorsPerTrack;
  putBe32(bytes, FooterField.kind, footer.kind);
  bytes.set(randomUuid(random), FooterField.uuid);
  putBe32(bytes, FooterField.checksum, checksumOf(bytes, FooterField.checksum));
  return bytes;
}

/** Null: all bits are set. */
export function putOffset(bytes: Uint8Array, at: number, offset: number | null): void {
  if (offset === null) bytes.fill(0xff, at, at + 8);
  else putBe64(bytes, at, offset);
}
