// Layout of the tables that JavaScript and the addon share (the same as in native/request.h).
//
//   descriptor, 64 bytes a slot:
//      0 i32 op         4 i32 fd          8 f64 offset     16 f64 address
//     24 f64 length    32 i32 flags      36 i32 extra      40 f64 offset2
//     48 f64 address2  56 i32 fd2        60 i32 unused
//   completion, 16 bytes: f64 slot, f64 result (or -errno)

export const DESCRIPTOR_BYTES = 64;
export const COMPLETION_BYTES = 16;

/** Operations. native/request.h says which fields of the descriptor each one uses. */
export const Op = {
  read: 1,
  write: 2,
  readv: 3,
  writev: 4,
  dataSync: 5,
  truncate: 6,
  fallocate: 7,
  writeback: 8,
  copyRange: 9,
  open: 10,
  close: 11,
  blockDiscard: 12,
  blockZeroOut: 13,
  compress: 14,
  decompress: 15,
  move: 16,
  compare: 17,
  cipher: 18,
  derive: 19,
} as const;

export const FLAG_DIRECT = 1;
export const FLAG_SCAN = 2;
export const FLAG_RESERVE = 4;
export const FLAG_SHARE = 8;
export const FLAG_UNPACK = 16;
export const FLAG_BACKGROUND = 32;
export const FLAG_ALIGN_SHIFT = 8;

/** Modes of fallocate(2). */
export const Fallocate = { allocate: 0, keepSize: 1, punchHole: 3, zeroRange: 16 } as const;

const NAMES: Readonly<Record<number, string>> = {
  [Op.read]: 'read',
  [Op.write]: 'write',
  [Op.readv]: 'read',
  [Op.writev]: 'write',
  [Op.dataSync]: 'flush',
  [Op.truncate]: 'truncate',
  [Op.writeback]: 'writeback',
  [Op.copyRange]: 'copy-range',
  [Op.open]: 'open',
  [Op.close]: 'close',
  [Op.blockDiscard]: 'discard',
  [Op.blockZeroOut]: 'zero-range',
  [Op.compress]: 'compress',
  [Op.decompress]: 'decompress',
  [Op.move]: 'move',
  [Op.compare]: 'compare',
  [Op.cipher]: 'encrypt',
  [Op.derive]: 'derive',
};

/** Name of an operation in errors. `extra` tells the kinds of fallocate apart. */
export function operationName(op: number, extra: number): string {
  if (op !== Op.fallocate) return NAMES[op] ?? `operation ${op}`;
  if (extra === Fallocate.punchHole) return 'punch-hole';
  return extra === Fallocate.zeroRange ? 'zero-range' : 'allocate';
}
