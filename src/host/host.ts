// The one interface to the outside: files, memory, codecs and time. It has two implementations:
// `real/` over the addon, and `sim/`, a seeded disk in memory with a clock that jumps. Nothing above this layer
// imports node:fs, sets a timer, reads a clock or draws a random number in any other way, so that one seed
// replays one run.
//
//   block/  drivers/  jobs/
//        |
//      Host --- Memory   aligned buffers, zero test
//        |  \-- Clock    now, timers
//        |  \-- Codecs   deflate, zstd, on worker threads
//      HostFile          read, write, flush, fallocate, seek, locks

import type { BlockError } from '../util/errors.js';
import type { Net } from './net.js';

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
  /** It lies in the arena, as a whole view or a part of one. */
  owns(buffer: Uint8Array): boolean;
  /** True when each byte is zero (vector code). */
  isZero(buffer: Uint8Array): boolean;
  /**
   * Tests `buffer` in steps of `granule` bytes (a multiple of 512; the last step may be shorter) and sets map[i] to 1 where
   * step i holds zeroes only, 0 elsewhere. Returns the number of steps.
   */
  zeroMap(buffer: Uint8Array, granule: number, map: Uint8Array): number;
  /** Index of the first differing byte, -1 if equal. Lengths must be the same. */
  firstDifference(a: Uint8Array, b: Uint8Array): number;
}

/** Asks a read to test what it read for zeroes on the worker that read it, as `Memory.zeroMap` would. */
export interface ZeroScan {
  granule: number;
  /** One byte a granule of the request: 1 = zeroes only. */
  map: Uint8Array;
}

export type CompressionType = 'zlib' | 'zstd';

/** Whole-buffer codecs on worker threads. Input and output must not overlap. */
export interface Codecs {
  /** The libraries behind them, for `--version`: e.g. `libdeflate 1.14 (inflate), zlib 1.3.0 (deflate), libzstd 1.5.4`. */
  readonly description: string;
  /** Is it there? zlib always is; an addon that was built where there was no zstd does without, and rejects with `unsupported`. */
  supports(type: CompressionType): boolean;
  /** Compresses into `output`; resolves with the length, or -1 where it does not fit. zlib: raw deflate, 12-bit window. */
  compress(type: CompressionType, input: Uint8Array, output: Uint8Array, level?: number): Promise<number>;
  /**
   * Decompresses until `output` is full; trailing input is ignored. Rejects with `invalid-image` where the input
   * is broken or ends before `output` is full.
   */
  decompress(type: CompressionType, input: Uint8Array, output: Uint8Array): Promise<void>;
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
  /** It lies on a file system that keeps data; false for those in which the kernel shows itself (/proc, /sys and their kin). */
  ordinary: boolean;
}

export interface OpenFileOptions {
  writable: boolean;
  /** `never` (default): it must exist. `truncate`: make it, or cut it to nothing. `exclusive`: it must not exist. `keep`: make it where it is not there. */
  create?: 'never' | 'truncate' | 'exclusive' | 'keep';
  /** O_DIRECT; alignment is found out, requests that do not fit it are bounced inside. */
  direct?: boolean;
  /**
   * The file is open already: this descriptor of the process is duplicated, and `path` is but its name in messages. It must be open for what is asked.
   * Nothing is made or cut. Locks belong to what the descriptor has open, so that those of the duplicate are the same.
   */
  descriptor?: number;
}

/** What SEEK_DATA / SEEK_HOLE say of one place. */
export interface SeekResult {
  data: boolean;
  /** First byte after the run (at most the end of the file). */
  end: number;
}

/**
 * Takes the answers of requests that were begun without a promise (`HostFile.beginRead`). One object for many requests: nothing is made
 * per request.
 */
export interface RequestSink {
  /** `result` is 0 or more, or -errno. */
  completed(tag: number, result: number): void;
  /** After one or more `completed`. All answers that were there at once have been handed over: the moment to send replies. */
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
  /** Of a file that was opened from a descriptor, its own one, from which it can be opened once more; null where it was opened by its name. */
  readonly descriptor: number | null;
  /** Requests under way now. */
  readonly inFlight: number;

  /** Current size in bytes (fstat, or the device's size). */
  size(): Promise<number>;
  info(): Promise<FileInfo>;
  /** What was opened, whatever the name means by now. */
  origin(): Promise<FileOrigin>;
  /** Fills the whole buffer; what lies past the end of the file is zeroes. */
  read(offset: number, buffer: Uint8Array, scan?: ZeroScan): Promise<void>;
  /** Writes the whole buffer. */
  write(offset: number, buffer: Uint8Array): Promise<void>;
  /**
   * Begins a read without a promise: `sink.completed(tag, result)` is its answer, never from within this call. False where it cannot be
   * done without waiting or a bounce (alignment, foreign memory, too much under way, closed): then nothing was begun, use `read`. It
   * is handed to the system with the next `Host.submit`, at the latest at the end of this turn.
   */
  beginRead(offset: number, buffer: Uint8Array, start: number, end: number, sink: RequestSink, tag: number): boolean;
  /** The same for a write. */
  beginWrite(offset: number, buffer: Uint8Array, start: number, end: number, sink: RequestSink, tag: number): boolean;
  /** The error of a `completed` request with a negative result. */
  errorOf(operation: 'read' | 'write', offset: number, length: number, result: number): BlockError;
  /** One contiguous range of the file, scattered in memory. */
  readv(offset: number, buffers: readonly Uint8Array[]): Promise<void>;
  writev(offset: number, buffers: readonly Uint8Array[]): Promise<void>;
  /** fdatasync: everything whose write was answered before this call is durable when it resolves. */
  flush(): Promise<void>;
  /**
   * A hint that a flush will follow: the system may begin to write the range to the disk. Returns at once, says nothing of what is
   * durable, and never fails.
   */
  startWriteback(offset: number, length: number): void;
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
  /** The same at once, throwing what `seek` rejects with; null where that takes waiting. */
  seekSync(offset: number): SeekResult | null;
  /** copy_file_range; resolves with the bytes copied (short at the source's end). Rejects with `unsupported`. */
  copyRange(offset: number, target: HostFile, targetOffset: number, length: number): Promise<number>;
  /** Sets (or drops) a lock of this open file; false where another holder conflicts. */
  lock(kind: LockKind, start: number, length: number): boolean;
  /** Would `kind` conflict with a lock that another process holds? */
  lockConflicts(kind: 'shared' | 'exclusive', start: number, length: number): boolean;
  close(): Promise<void>;
}

export interface Host {
  /** `io_uring`, `threads`, `simulated`. */
  readonly engine: string;
  readonly clock: Clock;
  readonly memory: Memory;
  readonly codecs: Codecs;
  readonly net: Net;
  /** 32 random bits. */
  random(): number;
  open(path: string, options: OpenFileOptions): Promise<HostFile>;
  /** Follows links. Rejects with `not-found`. */
  stat(path: string): Promise<FileInfo>;
  /** Target of a symbolic link chain, absolute. */
  realPath(path: string): Promise<string>;
  /** `path` from the root, links as they are: what it means however the current folder changes. */
  absolute(path: string): string;
  unlink(path: string): Promise<void>;
  /** Bytes that an ordinary user can still write on the file system of `path` (the folder's where the file is not there yet). */
  freeSpace(path: string): Promise<number>;
  /** The content of a small text file (certificates, keys). Rejects with `not-found`, `permission`, `limit` beyond `limit` bytes. */
  readSmall(path: string, limit: number): Promise<Uint8Array>;
  /** Hands over what was begun; answers that come at once are delivered before it returns. */
  submit(): void;
  /** Ends the engine: waits for what is in flight, then frees threads and memory. */
  close(): Promise<void>;
}
