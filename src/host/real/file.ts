// One open file or block device of the real host.

import { constants } from 'node:os';
import { bestEffort } from '../../util/best-effort.js';
import { BlockError } from '../../util/errors.js';
import { errnoError } from '../errno.js';
import type { FileInfo, FileKind, FileOrigin, HostFile, LockKind, RequestSink, SeekResult, ZeroScan } from '../host.js';
import { closedError, type Engine, type Requester } from './engine.js';
import { infoOfDescriptor } from './info.js';
import type { ArenaMemory } from './memory.js';
import { originOfDescriptor } from './origin.js';
import { Fallocate, Op } from './table.js';
import { Transfer } from './transfer.js';

const LOCK_KINDS: Readonly<Record<LockKind, number>> = { none: 0, shared: 1, exclusive: 2 };
const LAST_PLAIN_OFFSET = 2 ** 52;
/** Errors of fallocate and copy_file_range that mean "not supported", besides EOPNOTSUPP. */
const UNSUPPORTED_ERRNOS = new Set(['ENODEV', 'ESPIPE', 'EXDEV', 'ENOTTY']);

export interface RealFileOptions {
  path: string;
  fd: number;
  kind: FileKind;
  writable: boolean;
  direct: boolean;
  alignment: number;
  memoryAlignment: number;
  descriptor: number | null;
}

export class RealFile implements HostFile {
  readonly path: string;
  readonly kind: FileKind;
  readonly writable: boolean;
  readonly direct: boolean;
  readonly alignment: number;
  readonly descriptor: number | null;
  #engine: Engine;
  #memory: ArenaMemory;
  #fd: number;
  #transfer: Transfer;
  #open = true;
  #closing: Promise<void> | undefined;
  /** Written bytes after which writeback begins, 0: it does not; and what was written since it began last: the range around it, and its bytes. */
  #writebackBytes = 0;
  #unsent = { from: Number.POSITIVE_INFINITY, to: 0, bytes: 0 };
  #forget: (file: RealFile) => void;

  constructor(engine: Engine, memory: ArenaMemory, options: RealFileOptions, forget: (file: RealFile) => void) {
    this.path = options.path;
    this.kind = options.kind;
    this.writable = options.writable;
    this.direct = options.direct;
    this.alignment = options.alignment;
    this.descriptor = options.descriptor;
    this.#engine = engine;
    this.#memory = memory;
    this.#fd = options.fd;
    this.#forget = forget;
    this.#transfer = new Transfer(engine, memory, { ...options, size: () => this.#sizeNow() });
  }

  get inFlight(): number {
    return this.#transfer.who.inFlight;
  }

  read(offset: number, buffer: Uint8Array, scan?: ZeroScan): Promise<void> {
    const address = this.#memory.addressOf(buffer);
    const length = buffer.byteLength;
    if (this.#open && scan === undefined && address !== 0 && isPlainOffset(offset)) {
      if (!this.direct) return this.#startBuffered(Op.read, offset, address, length);
      if (this.#transfer.fits(offset, length, address)) return this.#transfer.startDirectRead(offset, address, length);
    }
    return this.#run('read', false, offset, length, () => this.#transfer.read(offset, buffer, scan));
  }

  write(offset: number, buffer: Uint8Array): Promise<void> {
    const address = this.#memory.addressOf(buffer);
    const length = buffer.byteLength;
    if (this.#open && this.writable && address !== 0 && isPlainOffset(offset)) {
      if (!this.direct) {
        const written = this.#startBuffered(Op.write, offset, address, length);
        return this.#writebackBytes === 0 ? written : this.#whenWritten(written, offset, length);
      }
      const fits = this.#transfer.fits(offset, length, address);
      const written = fits ? this.#transfer.startDirectWrite(offset, address, length) : null;
      if (written !== null) return written;
    }
    return this.#run('write', true, offset, length, () => this.#transfer.write(offset, buffer));
  }

  async #whenWritten(written: Promise<void>, offset: number, length: number): Promise<void> {
    await written;
    this.wrote(offset, length);
  }

  /** Starts a read or write of a buffered file that needs neither checks nor a copy, and returns the engine's promise. */
  #startBuffered(op: number, offset: number, address: number, length: number): Promise<void> {
    const request = this.#engine.prepare(op, this.#fd);
    request.offset = offset;
    request.address = address;
    request.length = length;
    return this.#engine.start(this.#transfer.who) as Promise<unknown> as Promise<void>;
  }

  beginRead(offset: number, buffer: Uint8Array, start: number, end: number, sink: RequestSink, tag: number): boolean {
    const address = this.#memory.addressOf(buffer);
    if (!this.#open || address === 0 || !isPlainOffset(offset)) return false;
    return this.#transfer.beginRead(offset, address + start, end - start, sink, tag);
  }

  beginWrite(offset: number, buffer: Uint8Array, start: number, end: number, sink: RequestSink, tag: number): boolean {
    const address = this.#memory.addressOf(buffer);
    if (!this.#open || !this.writable || address === 0 || !isPlainOffset(offset)) return false;
    return this.#transfer.beginWrite(offset, address + start, end - start, sink, tag);
  }

  errorOf(operation: 'read' | 'write', offset: number, length: number, result: number): BlockError {
    return errnoError(result, { operation, path: this.path, offset, length });
  }

  readv(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    return this.#run('read', false, offset, total(buffers), () => this.#transfer.vector(false, offset, buffers));
  }

  writev(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    return this.#run('write', true, offset, total(buffers), () => this.#transfer.vector(true, offset, buffers));
  }

  flush(): Promise<void> {
    return this.#run('flush', false, 0, 0, () => this.#request(Op.dataSync, 0, 0));
  }

  writeBackEvery(bytes: number): void {
    this.#writebackBytes = this.direct || this.kind !== 'file' ? 0 : bytes;
    this.#unsent = { from: Number.POSITIVE_INFINITY, to: 0, bytes: 0 };
  }

  /** [offset, offset + length) was written, or `bytes` of it. */
  wrote(offset: number, length: number, bytes = length): void {
    if (this.#writebackBytes === 0 || !this.#open) return;
    const unsent = this.#unsent;
    unsent.from = Math.min(unsent.from, offset);
    unsent.to = Math.max(unsent.to, offset + length);
    unsent.bytes += bytes;
    if (unsent.bytes < this.#writebackBytes) return;
    this.#unsent = { from: Number.POSITIVE_INFINITY, to: 0, bytes: 0 };
    // A hint: the flush reports errors.
    this.#request(Op.writeback, unsent.from, unsent.to - unsent.from).catch(bestEffort('writeback'));
  }

  get movable(): boolean {
    return this.#open && !this.direct;
  }

  /** What a step needs of one of its sides; `grows`: a big copy goes on in it. Throws where the file is closed, or is to be written and cannot be. */
  side(operation: 'move' | 'compare' | 'send', writes: boolean): { fd: number; who: Requester; grows: boolean } {
    if (!this.#open) throw closedError(operation, this.path);
    if (!writes || this.writable) return { fd: this.#fd, who: this.#transfer.who, grows: this.#writebackBytes > 0 };
    throw BlockError.at(this.path, 'read-only', `${operation}: it is open for reading only`, { operation });
  }

  async size(): Promise<number> {
    return this.sizeSync();
  }

  sizeSync(): number {
    if (!this.#open) throw closedError('size', this.path);
    return this.#sizeNow();
  }

  info(): Promise<FileInfo> {
    return this.#run('info', false, 0, 0, async () => {
      const info = await infoOfDescriptor(this.#fd, this.path);
      return this.kind === 'block' ? { ...info, size: this.#sizeNow() } : info;
    });
  }

  origin(): Promise<FileOrigin> {
    return this.#run('origin', false, 0, 0, () => originOfDescriptor(this.#fd, this.path));
  }

  truncate(size: number): Promise<void> {
    return this.#run('truncate', true, size, 0, async () => {
      if (this.kind === 'file') return this.#request(Op.truncate, size, 0);
      if (size === this.#sizeNow()) return;
      throw this.#unsupported('truncate', 'only a regular file can change its size');
    });
  }

  allocate(offset: number, length: number, keepSize: boolean): Promise<void> {
    const mode = keepSize ? Fallocate.keepSize : Fallocate.allocate;
    return this.#run('allocate', true, offset, length, () => this.#fallocate(offset, length, mode));
  }

  punchHole(offset: number, length: number): Promise<void> {
    return this.#run('punch-hole', true, offset, length, () =>
      this.#bySectors(offset, length, (from, bytes) => this.#fallocate(from, bytes, Fallocate.punchHole)),
    );
  }

  zeroRange(offset: number, length: number): Promise<void> {
    return this.#run('zero-range', true, offset, length, async () => {
      if (this.kind !== 'block') return this.#fallocate(offset, length, Fallocate.zeroRange);
      await this.#bySectors(offset, length, (from, bytes) => this.#request(Op.blockZeroOut, from, bytes));
    });
  }

  discard(offset: number, length: number): Promise<void> {
    return this.#run('discard', true, offset, length, async () => {
      if (this.kind !== 'block') return this.#fallocate(offset, length, Fallocate.punchHole);
      // A hint: only whole sectors are discarded.
      const sector = this.#sectorBytes();
      const start = Math.ceil(offset / sector) * sector;
      const end = Math.floor((offset + length) / sector) * sector;
      if (end > start) await this.#request(Op.blockDiscard, start, end - start);
    });
  }

  seek(offset: number): Promise<SeekResult> {
    return this.#run('seek', false, offset, 0, async () => this.#seekNow(offset));
  }

  avoidCopies(): void {
    if (this.#open) this.#engine.native.setNoCow(this.#fd);
  }

  setExtentSize(bytes: number): void {
    if (!this.#open) throw closedError('hint', this.path);
    const result = this.#engine.native.setExtentSize(this.#fd, bytes);
    if (result < 0) throw errnoError(result, { operation: 'hint', path: this.path });
  }

  seekSync(offset: number): SeekResult | null {
    return this.#open && isPlainOffset(offset) ? this.#seekNow(offset) : null;
  }

  /** One or two system calls of less than 1 us, done synchronously: passing them to a worker would take twenty times as long. */
  #seekNow(offset: number): SeekResult {
    const answer = this.#engine.native.seek(this.#fd, offset);
    if (answer < 0) throw errnoError(answer, { operation: 'seek', path: this.path, offset });
    const end = Math.floor(answer / 2);
    if (end > offset) return { data: answer % 2 === 1, end };
    throw BlockError.at(this.path, 'out-of-bounds', `seek at offset ${offset}, but the end is at ${end}`, {
      operation: 'seek',
      offset,
    });
  }

  copyRange(offset: number, target: HostFile, targetOffset: number, length: number): Promise<number> {
    return this.#run('copy-range', false, offset, length, async () => {
      checkPlace('copy-range', target.path, targetOffset, length);
      if (!(target instanceof RealFile) || this.kind !== 'file' || target.kind !== 'file') {
        throw this.#unsupported('copy-range', 'only between regular files of one host');
      }
      return target.#run('copy-range', true, targetOffset, length, () => {
        const request = this.#engine.prepare(Op.copyRange, this.#fd);
        request.offset = offset;
        request.length = length;
        request.offset2 = targetOffset;
        request.fd2 = target.#fd;
        return this.#orUnsupported(this.#engine.start(this.#transfer.inner));
      });
    });
  }

  lock(kind: LockKind, start: number, length: number): boolean {
    if (!this.#open) throw closedError('lock', this.path);
    if (kind === 'exclusive' && !this.writable) {
      const why = 'lock: an exclusive lock needs a file that is open for writing';
      throw BlockError.at(this.path, 'read-only', why, { operation: 'lock', offset: start, length });
    }
    const result = this.#engine.native.lock(this.#fd, LOCK_KINDS[kind], start, length);
    if (result === 0) return true;
    if (result === -constants.errno.EAGAIN) return false;
    throw errnoError(result, { operation: 'lock', path: this.path, offset: start, length });
  }

  lockConflicts(kind: 'shared' | 'exclusive', start: number, length: number): boolean {
    if (!this.#open) throw closedError('lock', this.path);
    const result = this.#engine.native.lockConflicts(this.#fd, LOCK_KINDS[kind], start, length);
    if (result < 0) throw errnoError(result, { operation: 'lock', path: this.path, offset: start, length });
    return result === 1;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#open = false;
    try {
      await this.#transfer.who.idle();
      await this.#request(Op.close, 0, 0);
    } finally {
      this.#forget(this);
    }
  }

  /** Counts a request, checks it and runs `body`. */
  #run<T>(operation: string, writes: boolean, offset: number, length: number, body: () => Promise<T>): Promise<T> {
    return this.#transfer.counted(async () => {
      if (!this.#open) throw closedError(operation, this.path);
      if (writes && !this.writable) {
        const info = { operation, path: this.path, offset, length };
        throw BlockError.at(this.path, 'read-only', `${operation}: it is open for reading only`, info);
      }
      checkPlace(operation, this.path, offset, length);
      return body();
    });
  }

  async #request(op: number, offset: number, length: number): Promise<void> {
    const request = this.#engine.prepare(op, this.#fd);
    request.offset = offset;
    request.length = length;
    await this.#orUnsupported(this.#engine.start(this.#transfer.inner));
  }

  async #fallocate(offset: number, length: number, mode: number): Promise<void> {
    if (length === 0) return;
    const request = this.#engine.prepare(Op.fallocate, this.#fd);
    request.offset = offset;
    request.length = length;
    request.extra = mode;
    await this.#orUnsupported(this.#engine.start(this.#transfer.inner));
  }

  async #orUnsupported<T>(request: Promise<T>): Promise<T> {
    try {
      return await request;
    } catch (error) {
      if (!(error instanceof BlockError) || !UNSUPPORTED_ERRNOS.has(error.errno ?? '')) throw error;
      throw error.as('unsupported');
    }
  }

  /** Zeroes whole sectors by `clear`; on a block device, parts of sectors at both ends are written as data. */
  async #bySectors(
    offset: number,
    length: number,
    clear: (from: number, bytes: number) => Promise<void>,
  ): Promise<void> {
    if (this.kind !== 'block') return clear(offset, length);
    const sector = this.#sectorBytes();
    const stop = offset + length;
    const start = Math.min(stop, Math.ceil(offset / sector) * sector);
    const end = Math.max(start, Math.floor(stop / sector) * sector);
    // `clear` comes first, so that nothing is changed where it is not supported.
    if (end > start) await clear(start, end - start);
    if (start > offset) await this.#transfer.write(offset, new Uint8Array(start - offset));
    if (stop > end) await this.#transfer.write(end, new Uint8Array(stop - end));
  }

  #sectorBytes(): number {
    const bytes = this.#engine.native.sectorBytes(this.#fd);
    if (bytes < 0) throw errnoError(bytes, { operation: 'sector size', path: this.path });
    return bytes;
  }

  #unsupported(operation: string, why: string): BlockError {
    return BlockError.at(this.path, 'unsupported', `${operation}: ${why}`, { operation });
  }

  #sizeNow(): number {
    const size = this.#engine.native.fileSize(this.#fd);
    if (size < 0) throw errnoError(size, { operation: 'size', path: this.path });
    return size;
  }
}

/** A side of a step. Throws `internal` for a file of another host. */
export function ourFile(file: HostFile, operation: 'move' | 'compare'): RealFile {
  if (file instanceof RealFile) return file;
  throw BlockError.at(file.path, 'internal', `${operation}: it is a file of another host`, { operation });
}

/** True for an offset to which the length of any buffer can be added without exceeding the safe integers. */
function isPlainOffset(offset: number): boolean {
  return Number.isInteger(offset) && offset >= 0 && offset <= LAST_PLAIN_OFFSET;
}

function total(buffers: readonly Uint8Array[]): number {
  let length = 0;
  for (const buffer of buffers) length += buffer.byteLength;
  return length;
}

function checkPlace(operation: string, path: string, offset: number, length: number): void {
  if (Number.isSafeInteger(offset) && offset >= 0 && Number.isSafeInteger(length) && length >= 0) {
    if (Number.isSafeInteger(offset + length)) return;
  }
  throw BlockError.at(path, 'invalid-argument', `${operation}: invalid range: offset ${offset}, ${length} bytes`, {
    operation,
    offset,
    length,
  });
}
