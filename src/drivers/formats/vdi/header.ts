// The header of a VDI image, and the meaning of its entries.
//
//   | header, 512 bytes | map: an entry of 32 bits for each block | ... | block | block | ...
//                       ^ map offset                                    ^ data offset
//
// All numbers are little-endian. An entry is the number of the block's place, counted from the data offset; UNALLOCATED, or DISCARDED: zeroes.
// Source: VirtualBox's manual ("VDI"), and the layout that is published with it.

import { BlockError } from '../../../util/errors.js';
import { SECTOR_BYTES } from '../../../util/numbers.js';
import { randomUuid } from '../../../util/uuid.js';

export const HEADER_BYTES = 512;
export const BLOCK_BYTES = 1 << 20;
export const UNALLOCATED = 0xffff_ffff;
export const DISCARDED = 0xffff_fffe;

const VERSION = 0x0001_0001;
const SIGNATURE = 0xbeda_107f;
const TEXT = '<<< QEMU VM Virtual Disk Image >>>\n';
/** Bytes of the header proper, as it counts them itself. */
const OWN_BYTES = 0x180;
/** Places beyond could not be told from DISCARDED. QEMU has the same limit. */
const MAX_BLOCKS = 0x1fff_ff80;
export const MAX_DISK_BYTES = MAX_BLOCKS * BLOCK_BYTES;

const Kind = { dynamic: 1, static: 2, undo: 3, differencing: 4 } as const;

export const Field = {
  signature: 0x40,
  version: 0x44,
  ownBytes: 0x48,
  kind: 0x4c,
  mapOffset: 0x154,
  dataOffset: 0x158,
  sectorBytes: 0x168,
  diskBytes: 0x170,
  blockBytes: 0x178,
  extraBytes: 0x17c,
  blocks: 0x180,
  allocated: 0x184,
  uuid: 0x188,
  lastSnapshot: 0x198,
  link: 0x1a8,
  parent: 0x1b8,
} as const;

export interface Header {
  /** Bytes of the disk: whole sectors. */
  size: number;
  isStatic: boolean;
  mapOffset: number;
  dataOffset: number;
  /** Entries of the map. */
  blocks: number;
  /** Blocks that are in use: the next one goes behind so many. */
  allocated: number;
}

/** Throws `invalid-image`, `unsupported`, in QEMU's words where QEMU refuses the image, too. */
export function parseHeader(head: Uint8Array, path: string): Header {
  const fail = (code: 'invalid-image' | 'unsupported', reason: string): never => {
    throw BlockError.at(path, code, reason, { operation: 'open' });
  };
  const bytes = new Uint8Array(HEADER_BYTES);
  bytes.set(head.subarray(0, HEADER_BYTES));
  const view = new DataView(bytes.buffer);
  const at = (field: number): number => view.getUint32(field, true);
  const given = view.getBigUint64(Field.diskBytes, true);
  const hex = (value: number | bigint): string => `0x${value.toString(16)}`;
  if (given > MAX_DISK_BYTES) {
    fail('unsupported', `Unsupported VDI image size (size is ${hex(given)}, max supported is ${hex(MAX_DISK_BYTES)})`);
  }
  const size = Math.ceil(Number(given) / SECTOR_BYTES) * SECTOR_BYTES;
  const signature = at(Field.signature);
  if (signature !== SIGNATURE) {
    fail('invalid-image', `Image not in VDI format (bad signature ${signature.toString(16).padStart(8, '0')})`);
  }
  const refuse = (what: string): never => fail('unsupported', `unsupported VDI image (${what})`);
  const version = at(Field.version);
  if (version !== VERSION) refuse(`version ${version >>> 16}.${version & 0xffff}`);
  const mapOffset = at(Field.mapOffset);
  if (mapOffset % SECTOR_BYTES !== 0) refuse(`unaligned block map offset ${hex(mapOffset)}`);
  const dataOffset = at(Field.dataOffset);
  if (dataOffset % SECTOR_BYTES !== 0) refuse(`unaligned data offset ${hex(dataOffset)}`);
  if (at(Field.sectorBytes) !== SECTOR_BYTES) refuse(`sector size ${at(Field.sectorBytes)} is not ${SECTOR_BYTES}`);
  if (at(Field.blockBytes) !== BLOCK_BYTES) refuse(`block size ${at(Field.blockBytes)} is not ${BLOCK_BYTES}`);
  const blocks = at(Field.blocks);
  if (size > blocks * BLOCK_BYTES) {
    refuse(`disk size ${size}, image bitmap has room for ${blocks * BLOCK_BYTES}`);
  }
  const hasUuid = (field: number): boolean => bytes.subarray(field, field + 16).some((byte) => byte !== 0);
  const kind = at(Field.kind);
  if (kind === Kind.differencing || hasUuid(Field.link)) refuse('non-NULL link UUID: a differencing image');
  if (hasUuid(Field.parent)) refuse('non-NULL parent UUID: a differencing image');
  if (blocks > MAX_BLOCKS) refuse(`too many blocks ${blocks}, max is ${MAX_BLOCKS}`);
  if (at(Field.extraBytes) !== 0) refuse(`${at(Field.extraBytes)} bytes of extra data in each block`);
  const mapEnd = mapOffset + blocks * 4;
  if (mapOffset < HEADER_BYTES && blocks > 0) fail('invalid-image', 'The block map lies in the header');
  if (dataOffset < mapEnd && blocks > 0) fail('invalid-image', 'The data begins within the block map');
  return {
    size,
    isStatic: kind === Kind.static,
    mapOffset,
    dataOffset,
    blocks,
    allocated: at(Field.allocated),
  };
}

/** The header of a new image. `random`: 32 random bits. */
export function encodeHeader(header: Header, random: () => number): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  bytes.set(new TextEncoder().encode(TEXT));
  const set = (field: number, value: number): void => view.setUint32(field, value, true);
  set(Field.signature, SIGNATURE);
  set(Field.version, VERSION);
  set(Field.ownBytes, OWN_BYTES);
  set(Field.kind, header.isStatic ? Kind.static : Kind.dynamic);
  set(Field.mapOffset, header.mapOffset);
  set(Field.dataOffset, header.dataOffset);
  set(Field.sectorBytes, SECTOR_BYTES);
  view.setBigUint64(Field.diskBytes, BigInt(header.size), true);
  set(Field.blockBytes, BLOCK_BYTES);
  set(Field.blocks, header.blocks);
  set(Field.allocated, header.allocated);
  for (const field of [Field.uuid, Field.lastSnapshot]) bytes.set(randomUuid(random, true), field);
  return bytes;
}
