// The one interface to the outside: files, memory, codecs and time. It has two implementations:
// `real/` over the addon, and `sim/`, a seeded disk in memory with a clock that jumps. Nothing above this layer
// imports node:fs, sets a timer, reads a clock or draws a random number in any other way, so that one seed
// replays one run.
//
//   block/  drivers/  jobs/
//        |
//      Host --- Memory   aligned buffers, zero test
//        |  \-- Clock    now, timers
//        |  |-- Codecs   deflate, zstd, on worker threads
//        |  |-- Ciphers  AES, PBKDF2, on worker threads
//        |  |-- Http     requests to servers
//        |  |-- Ssh      files of other machines
//        |  |-- Fuse     files that are mounted
//        |  \-- Folders  what lies below a folder, and nothing else
//      HostFile          read, write, flush, fallocate, seek, locks

import type { BlockError } from '../util/errors.js';
import type { Characters } from './character.js';
import type { Ciphers } from './cipher.js';
import type { Fuse } from './fuse.js';
import type { Http } from './http.js';
import type { Net } from './net.js';
import type { PassedDescriptors } from './passed-descriptors.js';
import type { Ssh } from './ssh.js';

/** Time of one host. Milliseconds, monotonic, fractions allowed. */
export interface Clock {
  now(): number;
  /** Seconds and nanoseconds of the wall clock. */
  wall(): { seconds: number; nanoseconds: number };
  /** Calls back once after `delayMs`; the result cancels it. A pending timer keeps the process alive. */
  timer(delayMs: number, callback: () => void): () => void;
}

/**
 * Buffers for I/O. `allocate` returns a view of an aligned arena: data that lies in one needs no copy on its way to
 * the file, not even with O_DIRECT. Every other `Uint8Array` is accepted everywhere too and bounced in one place.
 */
export interface Memory {
  /** An aligned buffer (4096 bytes) of exactly `length` bytes with undefined content. Throws `limit` beyond the arena's limit. */
  allocate(length: number): Uint8Array;
  /** Frees a buffer; it must not be used any more, and must not be in flight. The very view from `allocate`. */
  free(buffer: Uint8Array): void;
  /** Bytes that a buffer of `length` takes in all. */
  footprint(length: number): number;
  /** True where the buffer is a view from `allocate`, or a part of one. */
  owns(buffer: Uint8Array): boolean;
  /** True where all bytes are zero (vector code). */
  isZero(buffer: Uint8Array): boolean;
  /**
   * Tests `buffer` in steps of `granule` bytes (a multiple of 512; the last step may be shorter) and sets map[i] to 1 where
   * step i holds zeroes only, 0 elsewhere. Returns the number of steps.
   */
  zeroMap(buffer: Uint8Array, granule: number, map: Uint8Array): number;
  /** Index of the first differing byte, -1 if equal. Lengths must be the same. */
  firstDifference(a: Uint8Array, b: Uint8Array): number;
  /** Null where the host has none: qcow2 does it in TypeScript then. */
  readonly tables: TableCode | null;
}

/**
 * Native code for the tables of qcow2: what it does is written down, in TypeScript, in drivers/formats/qcow2/table-math.ts. All of it returns a number below -2 for
 * arguments that lead out of an array, and has done nothing then.
 */
export interface TableCode {
  rising(table: Uint8Array, at: number, most: number, step: number): number;
  rise(table: Uint8Array, at: number, count: number, step: number): number;
  add(numbers: Int32Array, from: number, to: number, change: number): number;
  settle(
    block: Uint8Array,
    order: number,
    max: number,
    first: number,
    changes: Int32Array,
    ones: Uint8Array,
    from: number,
    to: number,
  ): number;
  nextFreed(block: Uint8Array, order: number, first: number, changes: Int32Array, from: number, to: number): number;
  setFlags(
    table: Uint8Array,
    at: number,
    stride: number,
    changes: Int32Array,
    ones: Uint8Array,
    from: number,
    to: number,
  ): number;
}

/** Asks a read to test the data for zeroes, as `Memory.zeroMap` does, on the worker that read it. */
export interface ZeroScan {
  granule: number;
  /** One byte for each granule of the request: 1 = zeroes only. */
  map: Uint8Array;
}

export type CompressionType = 'zlib' | 'zstd';

/** Streams of other programs, which are only decompressed: each is whole, with its checksum. `zlib-stream`: RFC 1950; `xz`: the container of xz. */
export type StreamType = 'zlib-stream' | 'bzip2' | 'xz';

/** The largest cluster that a step of the host decompresses; it may be stored in twice as many bytes. */
export const MAX_PACKED_BYTES = 2 << 20;

/** How a cluster is stored compressed, and what of it is wanted. */
export interface Packing {
  type: CompressionType;
  /** Bytes that are stored. Those behind the end of the compressed data do no harm. */
  stored: number;
  /** Bytes of the whole cluster. */
  clusterBytes: number;
  /** Bytes of the cluster before those that are wanted. */
  lead: number;
}

/** Whole-buffer codecs on worker threads. Input and output must not overlap. */
export interface Codecs {
  /** The libraries behind them, for `--version`: e.g. `libdeflate 1.14 (inflate), zlib 1.3.0 (deflate), libzstd 1.5.4`. */
  readonly description: string;
  /** Why the codec is not here, and its calls reject with `unsupported`: the addon was built without it, or the system has no library for it. Null: it is; zlib always is. */
  missing(type: CompressionType | StreamType): string | null;
  /** Compresses into `output`; resolves with the length, or -1 where it does not fit. zlib: raw deflate, 12-bit window. */
  compress(type: CompressionType, input: Uint8Array, output: Uint8Array, level?: number): Promise<number>;
  /**
   * Decompresses until `output` is full, of a stream: exactly; trailing input is ignored. Rejects with `invalid-image` where the input
   * is broken or ends before `output` is full. The system's libraries are looked for at their first use.
   */
  decompress(type: CompressionType | StreamType, input: Uint8Array, output: Uint8Array): Promise<void>;
}

export type FileKind = 'file' | 'block' | 'character' | 'directory' | 'other';

export interface FileInfo {
  kind: FileKind;
  /** Bytes; of a block device, the device's size. */
  size: number;
  /** Bytes that are allocated on disk (st_blocks * 512). */
  allocated: number;
  /** Device and inode as decimal text, which together identify the file; of a device, its own number (`device:1792`). */
  id: string;
  mtimeMs: number;
}

export interface FileOrigin {
  /** Absolute, links resolved. */
  path: string;
  /** False where the file is on a file system of the kernel (/proc, /sys, ...), which has no stored data. */
  ordinary: boolean;
}

export interface OpenFileOptions {
  writable: boolean;
  /**
   * `never` (default): the file must exist. `truncate`: it is created, or truncated to 0 bytes. `exclusive`: it must not exist, and is created.
   * `keep`: it is created where it does not exist.
   */
  create?: 'never' | 'truncate' | 'exclusive' | 'keep';
  /** Opens with O_DIRECT. The alignment is found out; requests that are not aligned are copied through an aligned buffer. */
  direct?: boolean;
  /**
   * The file is open already: this descriptor of the process is duplicated, and `path` is only its name in messages. The descriptor must be open for
   * writing where `writable` is set. The file is not created or truncated. Locks belong to the open file description, so the duplicate shares them.
   */
  descriptor?: number;
}

/** The result of SEEK_DATA / SEEK_HOLE at one offset. */
export interface SeekResult {
  data: boolean;
  /** First byte after the run (at most the end of the file). */
  end: number;
}

/**
 * Receives the results of requests that were begun without a promise (`HostFile.beginRead`). One sink serves many requests, so that no object is made
 * for each.
 */
export interface RequestSink {
  /** The request with `tag` is done: `result` is 0 or more, or -errno. */
  completed(tag: number, result: number): void;
  /** Called after `completed` was called for all results that came together: the moment to send replies. */
  settled(): void;
}

/** Kind of a byte-range lock (open file description locks). */
export type LockKind = 'shared' | 'exclusive' | 'none';

/**
 * One open file or block device. Requests may overlap in time and are not ordered among each other. Every method that does I/O
 * rejects with a `BlockError` that carries operation, path, offset, length and errno, and `closed` after `close()`.
 * A request is answered once; `close()` waits for those in flight.
 */
export interface HostFile {
  readonly path: string;
  readonly kind: FileKind;
  readonly writable: boolean;
  readonly direct: boolean;
  /** Offset and length granularity that goes through without a bounce: 1 when buffered. */
  readonly alignment: number;
  /** For a file that was opened from a descriptor, its duplicate, from which it can be opened once more; null where it was opened by its name. */
  readonly descriptor: number | null;
  /** Requests under way now. */
  readonly inFlight: number;
  /** It may be a side of `Host.move`, and of `Host.compare`. */
  readonly movable: boolean;

  /** Current size in bytes (fstat, or the device's size). */
  size(): Promise<number>;
  /** The same, synchronously; throws the errors that `size` rejects with. */
  sizeSync(): number;
  info(): Promise<FileInfo>;
  /** Real path and kind of file system of the file that is open, even if another file has its name by now. */
  origin(): Promise<FileOrigin>;
  /** Fills the whole buffer; bytes beyond the end of the file are zeroes. */
  read(offset: number, buffer: Uint8Array, scan?: ZeroScan): Promise<void>;
  /** Writes the whole buffer. */
  write(offset: number, buffer: Uint8Array): Promise<void>;
  /**
   * Begins a read without a promise: `sink.completed(tag, result)` is called later, never from within this call. False where the read would have to wait
   * or to be copied (alignment, memory that is not the host's, too many requests under way, closed): then nothing was begun, and `read` must be used. The
   * request is passed to the system by the next `Host.submit`, at the latest at the end of this turn.
   */
  beginRead(offset: number, buffer: Uint8Array, start: number, end: number, sink: RequestSink, tag: number): boolean;
  /** As `beginRead`, for a write. */
  beginWrite(offset: number, buffer: Uint8Array, start: number, end: number, sink: RequestSink, tag: number): boolean;
  /** The error of a `completed` request with a negative result. */
  errorOf(operation: 'read' | 'write', offset: number, length: number, result: number): BlockError;
  /** One contiguous range of the file, scattered in memory. */
  readv(offset: number, buffers: readonly Uint8Array[]): Promise<void>;
  writev(offset: number, buffers: readonly Uint8Array[]): Promise<void>;
  /** fdatasync: everything whose write was answered before this call is durable when it resolves. */
  flush(): Promise<void>;
  /**
   * A hint that a flush will follow what is written from now on: each time that so many bytes were written, the system begins to write them to the disk.
   * 0: it does not any more. Makes nothing durable, and never fails.
   */
  writeBackEvery(bytes: number): void;
  /** Asks the file system not to copy what is written to the file, which is new and empty. What has no such thing (all but btrfs) is left as it is. Never fails. */
  avoidCopies(): void;
  /**
   * Asks the file system to allocate the space of the file, which is new and empty, in units of `bytes` (below 2^32; 0: as it likes). Throws `unsupported` where it
   * cannot, and `invalid-argument` where not in such units.
   */
  setExtentSize(bytes: number): void;
  /** Sets the size; new space reads as zeroes. */
  truncate(size: number): Promise<void>;
  /** fallocate: reserves space; `keepSize` leaves the file's size alone. Rejects with `unsupported` where the file system cannot. */
  allocate(offset: number, length: number, keepSize: boolean): Promise<void>;
  /** Frees space; the range reads as zeroes. Rejects with `unsupported`. On a block device only where zeroes are guaranteed (BLKZEROOUT with unmap). */
  punchHole(offset: number, length: number): Promise<void>;
  /** Makes the range read as zeroes and keeps it allocated where possible (FALLOC_FL_ZERO_RANGE, BLKZEROOUT). Rejects with `unsupported`. */
  zeroRange(offset: number, length: number): Promise<void>;
  /** Tells the storage that the content does not matter any more (punch hole, BLKDISCARD). Rejects with `unsupported`. */
  discard(offset: number, length: number): Promise<void>;
  /** SEEK_DATA / SEEK_HOLE at `offset` (below the size). Where that is not supported: data up to the end. */
  seek(offset: number): Promise<SeekResult>;
  /** As `seek`, synchronously; throws the errors that `seek` rejects with. Null where the host cannot do that. */
  seekSync(offset: number): SeekResult | null;
  /** copy_file_range; resolves with the bytes copied (short at the source's end). Rejects with `unsupported`. */
  copyRange(offset: number, target: HostFile, targetOffset: number, length: number): Promise<number>;
  /** Sets (or, with `none`, releases) a lock of this open file; false where the lock of another open file conflicts. */
  lock(kind: LockKind, start: number, length: number): boolean;
  /** True where a lock of `kind` would conflict with one of another open file. */
  lockConflicts(kind: 'shared' | 'exclusive', start: number, length: number): boolean;
  close(): Promise<void>;
}

/** Bytes of one `Host.move` at most. */
export const MAX_MOVE_BYTES = 8 << 20;
/** Bytes that a move reads, tests and writes at once, where a step or a cluster is not larger: a few of them fit into a core's cache. */
export const MOVE_SLICE_BYTES = 1 << 19;
/** The place of a piece that takes the next free bytes of the run. */
export const FROM_RUN = -1;

/** A part of what is moved: bytes of a file, and where they go. */
export interface MovePiece {
  /** Null: zeroes. */
  file: HostFile | null;
  /** Offset in `file`; what lies beyond its end is zeroes. */
  offset: number;
  length: number;
  /** Offset in the target, or `FROM_RUN`. */
  to: number;
  /** A compressed cluster begins at `offset`, and `length` bytes of it are wanted. */
  packing?: Packing | null;
}

/** Free bytes of a target, from `next` on, which pieces take in the order in which they are written. Whoever opened it knows that there are enough. */
export interface MoveRun {
  /** The next free byte. Read it only while nothing is moved into the run. */
  readonly next: number;
  /** Ends it. Nothing is moved into it any more. */
  free(): void;
}

export interface MoveRequest {
  /** Of `bytes` in all; `MAX_MOVE_BYTES` at most. */
  pieces: readonly MovePiece[];
  bytes: number;
  target: HostFile;
  /** Null where each piece has a place of its own. */
  run: MoveRun | null;
  /** Step of the zero test, a multiple of 512: a step of zeroes only is not written, and takes no bytes of the run. 0: all is written. */
  granule: number;
  /** The target may share blocks with the files of the pieces, where the file system can, instead of a copy. Only without a zero test. */
  share?: boolean;
  /** Guests go first: while their requests come, it takes a part of its speed only. */
  background?: boolean;
  /** Bytes that are read, tested and written at once, a multiple of `granule`. What one slice takes from the run lies together. */
  slice: number;
}

/** Bytes that a slice took from the run: they lie together from `start` on, which is -1 where it took none. */
export interface MovedSlice {
  start: number;
  taken: number;
}

export interface Moved {
  /** What each slice took from the run; slices behind a fault took nothing. */
  slices: readonly MovedSlice[];
  /** One byte for each step: 1 = zeroes only. Empty without a zero test, and after a fault. */
  map: Uint8Array;
  /** What went wrong, and in which piece; parts of the target may have been written then. */
  fault: { error: BlockError; isRead: boolean; piece: number } | null;
}

/**
 * `MoveRequest.slice` for a zero test of `granule` and a target that is written in units of `unit` bytes; 0 where one step cannot be made of them: the data is
 * to be moved by requests.
 */
export function moveSlice(granule: number, unit: number): number {
  // Whole steps, which are not powers of two where clusters are not.
  const most = granule === 0 ? MOVE_SLICE_BYTES : granule * Math.max(1, Math.floor(MOVE_SLICE_BYTES / granule));
  const slice = Math.max(most, unit);
  return slice <= MAX_MOVE_BYTES ? slice : 0;
}

/** Bytes of one `Host.compare` at most. */
export const MAX_COMPARE_BYTES = 4 << 20;

/** Two sides of a comparison: bytes of a file each, or zeroes where it is null. What lies beyond a file's end is zeroes. */
export interface ComparePiece {
  a: HostFile | null;
  b: HostFile | null;
  /** Offsets in the files. */
  aOffset: number;
  bOffset: number;
  length: number;
}

export interface CompareRequest {
  /** Of `bytes` in all; `MAX_COMPARE_BYTES` at most. */
  pieces: readonly ComparePiece[];
  bytes: number;
}

export interface Compared {
  /** The first byte that differs, counted over all pieces; -1 where none does before `fault`. */
  difference: number;
  /** What could not be read: all before `at`, counted over all pieces, is the same on both sides. */
  fault: { error: BlockError; side: 'a' | 'b'; at: number } | null;
}

/** What lies in a folder. */
export interface FolderEntry {
  name: string;
  kind: 'file' | 'folder' | 'link' | 'other';
  /** Bytes; of a file. */
  size: number;
  /** As `FileInfo.id`. */
  id: string;
  /** The permission bits of its mode; of a file, without those that give a program other rights (set-uid, set-gid) and the sticky one. */
  permissions: number;
  /** When its content was changed last, in milliseconds since 1970, with fractions. */
  mtimeMs: number;
  /** When anything of it was changed last. */
  ctimeMs: number;
  /** When it was read last. */
  atimeMs: number;
}

/** The names that lead from the folder to something below it; none: the folder itself. */
export type FolderPath = readonly string[];

/**
 * A folder that is open: what lies in it is reached through it alone, name by name, and no link is followed on the way. Whatever is renamed or put in its
 * place meanwhile, nothing outside of it is opened.
 */
export interface HostFolder {
  /** As it was opened. */
  readonly path: string;
  /** What lies there, in the system's order. Rejects with `limit` where there is more than `most`, and as `info`. */
  entries(folder: FolderPath, most: number): Promise<FolderEntry[]>;
  /** Rejects with `not-found`, `permission`, and with `loop` where a link lies on the way. */
  info(path: FolderPath): Promise<FolderEntry>;
  /** Opens a file below it for reading. Rejects as `info`. */
  openFile(path: FolderPath): Promise<HostFile>;
  /** Makes a file that its owner alone may read and write, and opens it for both. Rejects with `exists`, and as `info`. */
  createFile(path: FolderPath): Promise<HostFile>;
  /** `isPrivate`: its owner alone may enter it; otherwise, who may enter any new folder. Rejects with `exists`, and as `info`. */
  createFolder(path: FolderPath, isPrivate: boolean): Promise<void>;
  /** Sets the permission bits of a file or a folder; null: those of any new file. Rejects with `bad-state` where something else than `id` lies there, and as `info`. */
  setPermissions(path: FolderPath, id: string, permissions: number | null): Promise<void>;
  /** Gives a file another name, also in another folder; what has that name already is replaced, as by rename(2). Rejects as `info`. */
  rename(from: FolderPath, to: FolderPath): Promise<void>;
  /**
   * As `rename`, but rejects with `exists` where something has that name already. The system tells in the same moment where the file system has hard links; otherwise
   * just before.
   */
  renameToFree(from: FolderPath, to: FolderPath): Promise<void>;
  /** Files and folders below it that are mounted there, from another file system or from elsewhere in the same one: nothing can be renamed into them, out of them, or in their place. */
  mounts(): Promise<FolderPath[]>;
  /** Rejects with `permission`, ... where no name in the folder can be made or removed, as far as that can be told before. */
  checkWritable(folder: FolderPath): Promise<void>;
  /** Rejects as `info`. */
  removeFile(path: FolderPath): Promise<void>;
  /** Rejects as `info`, and with the system's ENOTEMPTY where something lies in it. */
  removeFolder(path: FolderPath): Promise<void>;
  /** Sets when a file was read and changed last. Rejects as `info`. */
  setTimes(path: FolderPath, atimeMs: number, mtimeMs: number): Promise<void>;
  /** What was made, renamed and removed in the folder is durable when it resolves. */
  flush(folder: FolderPath): Promise<void>;
  /** Files that were opened in it stay open. */
  close(): Promise<void>;
}

export interface Folders {
  /** Opens a folder; `path` itself may be a link. Rejects with `not-found`, `permission`, `invalid-argument` where it is no folder. */
  open(path: string): Promise<HostFolder>;
}

export interface Host {
  /** `io_uring`, `threads`, `simulated`. */
  readonly engine: string;
  readonly clock: Clock;
  readonly memory: Memory;
  readonly codecs: Codecs;
  readonly ciphers: Ciphers;
  readonly net: Net;
  readonly http: Http;
  readonly ssh: Ssh;
  readonly fuse: Fuse;
  readonly characters: Characters;
  readonly folders: Folders;
  /** What other programs have passed to this one. */
  readonly passed: PassedDescriptors;
  /** 32 random bits. */
  random(): number;
  open(path: string, options: OpenFileOptions): Promise<HostFile>;
  /** Follows links. Rejects with `not-found`. */
  stat(path: string): Promise<FileInfo>;
  /** Target of a symbolic link chain, absolute. */
  realPath(path: string): Promise<string>;
  /** The absolute form of `path`, without following links. */
  absolute(path: string): string;
  unlink(path: string): Promise<void>;
  /** Bytes that an ordinary user can still write to the file system of `path` (of its folder, where the file does not exist yet). */
  freeSpace(path: string): Promise<number>;
  /** The content of a small text file (certificates, keys). Rejects with `not-found`, `permission`, `limit` beyond `limit` bytes. */
  readSmall(path: string, limit: number): Promise<Uint8Array>;
  /** Opens a run whose first free byte is `next`. */
  openRun(next: number): MoveRun;
  /**
   * The copy step: reads the pieces, back to back, decompresses what is packed, tests them for zeroes, and writes what is not zero, on one worker, as one
   * request. Both sides count it; their files are `movable`. Never rejects for what a file answers: `Moved.fault` says it.
   */
  move(request: MoveRequest): Promise<Moved>;
  /**
   * The compare step: reads both sides of the pieces, back to back, and compares them, on one worker, as one request, up to the first difference. All files
   * count it; they are `movable`. Never rejects for what a file answers: `Compared.fault` says it.
   */
  compare(request: CompareRequest): Promise<Compared>;
  /** Passes all requests that were begun to the system; results that are available at once are delivered before it returns. */
  submit(): void;
  /** A request of a guest begins: what is done in the background lets it go first. */
  guestCame(): void;
  /** Ends the engine: waits for requests in flight, then frees threads and memory (with `waits`, in the next turn of the event loop). */
  close(): Promise<void>;
}
