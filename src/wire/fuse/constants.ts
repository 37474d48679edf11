// The numbers of the kernel's FUSE protocol (include/uapi/linux/fuse.h), as far as one file needs them. Fields are in the machine's byte order, which is
// little-endian on every system that the addon is built for.

/** The version that is spoken; a kernel that is newer speaks it, too. */
export const FUSE_MAJOR = 7;
export const FUSE_MINOR = 31;
/** A kernel below has not the fields that are used here. */
export const LEAST_FUSE_MINOR = 28;

export const Opcode = {
  lookup: 1,
  forget: 2,
  getattr: 3,
  setattr: 4,
  open: 14,
  read: 15,
  write: 16,
  statfs: 17,
  release: 18,
  fsync: 20,
  flush: 25,
  init: 26,
  interrupt: 36,
  destroy: 38,
  batchForget: 42,
  fallocate: 43,
  lseek: 46,
} as const;

/** What is agreed on with INIT. */
export const InitFlag = {
  asyncRead: 1 << 0,
  /** O_TRUNC comes with OPEN, where it does nothing: as a disk, the file keeps its size. */
  atomicOTrunc: 1 << 3,
  bigWrites: 1 << 5,
  autoInvalData: 1 << 12,
  asyncDio: 1 << 15,
  maxPages: 1 << 22,
} as const;

/** Fields that a SETATTR is about. */
export const SetAttribute = {
  mode: 1 << 0,
  uid: 1 << 1,
  gid: 1 << 2,
  size: 1 << 3,
  handle: 1 << 6,
  lockOwner: 1 << 9,
  ctime: 1 << 10,
  killSuidgid: 1 << 11,
} as const;

/** fallocate(2). */
export const Allocation = { keepSize: 1, punchHole: 2, zeroRange: 0x10 } as const;

/** lseek(2). */
export const Whence = { data: 3, hole: 4 } as const;

export const S_IFREG = 0o100000;

/** The one file. */
export const ROOT_NODE = 1;

export const IN_HEADER_BYTES = 40;
/** Of a read or a write, with the header. */
export const IO_HEADER_BYTES = 80;
export const OUT_HEADER_BYTES = 16;

/** Fields of a request's header. */
export const In = { length: 0, opcode: 4, unique: 8, node: 16 } as const;
/** Where the fields of a request's body begin. */
export const Body = {
  initMajor: 40,
  initMinor: 44,
  initReadahead: 48,
  initFlags: 52,
  /** READ, WRITE, behind the handle. */
  offset: 48,
  size: 56,
  /** FALLOCATE. */
  allocateOffset: 48,
  allocateLength: 56,
  allocateMode: 64,
  /** LSEEK. */
  seekOffset: 48,
  seekWhence: 56,
  /** SETATTR. */
  setValid: 40,
  setSize: 56,
  setMode: 108,
  setUid: 116,
  setGid: 120,
} as const;

/** Fields of the answer to INIT, and its length. */
export const InitOut = {
  major: 0,
  minor: 4,
  readahead: 8,
  flags: 12,
  maxBackground: 16,
  congestion: 18,
  maxWrite: 20,
  timeGranularity: 24,
  maxPages: 28,
  bytes: 64,
} as const;

/** Fields of the answer to GETATTR and SETATTR, and its length. */
export const Attr = {
  /** Seconds that the kernel may keep it. */
  valid: 0,
  node: 16,
  size: 24,
  sectors: 32,
  accessed: 40,
  modified: 48,
  changed: 56,
  mode: 76,
  links: 80,
  uid: 84,
  gid: 88,
  blockBytes: 96,
  bytes: 104,
} as const;

/** Fields of the answer to STATFS, and its length. */
export const StatfsOut = { blockBytes: 40, nameBytes: 44, bytes: 80 } as const;

export const OPEN_OUT_BYTES = 16;
export const WRITE_OUT_BYTES = 8;
export const LSEEK_OUT_BYTES = 8;

/** Bytes that a request of the kind has at least, with its header. */
export const LEAST_BYTES: Readonly<Record<number, number>> = {
  [Opcode.setattr]: 128,
  [Opcode.read]: IO_HEADER_BYTES,
  [Opcode.write]: IO_HEADER_BYTES,
  [Opcode.init]: 56,
  [Opcode.fallocate]: 72,
  [Opcode.lseek]: 64,
};
