// An open file of the simulated host. By the seed, a request takes effect when it is made, when it is answered, or partly at both times, so that code
// that relies on more than the interface promises fails in a test.

import { constants } from 'node:os';
import { BlockError } from '../../util/errors.js';
import type { FileInfo, FileKind, FileOrigin, HostFile, LockKind, RequestSink, SeekResult, ZeroScan } from '../host.js';
import { type Change, sectorsOf, tear, type Volatile } from './changes.js';
import type { SimDisk, SimFeature } from './disk.js';
import { type SimEngine, systemError, type Work } from './engine.js';
import type { SimOperation } from './faults.js';
import type { Inode } from './inode.js';
import type { SimMemory } from './memory.js';

const POISON = 0xcd;

/** The parts of a host that its files share. */
export interface FileContext {
  engine: SimEngine;
  disk: SimDisk;
  memory: SimMemory;
  directAlignment: number;
}

export class SimFile implements HostFile {
  readonly path: string;
  readonly kind: FileKind;
  readonly writable: boolean;
  readonly direct: boolean;
  readonly alignment: number;
  readonly descriptor = null;
  inFlight = 0;
  private readonly inode: Inode;
  private readonly context: FileContext;
  private closing: Promise<void> | undefined;
  private whenIdle: () => void = () => {};

  constructor(context: FileContext, path: string, inode: Inode, options: { writable: boolean; direct: boolean }) {
    this.context = context;
    this.path = path;
    this.inode = inode;
    this.kind = inode.kind;
    this.writable = options.writable;
    this.direct = options.direct;
    this.alignment = options.direct ? context.directAlignment : 1;
  }

  size(): Promise<number> {
    return this.submit({ operation: 'stat', path: this.path, finish: () => this.inode.current.size });
  }

  sizeSync(): number {
    return this.inode.current.size;
  }

  info(): Promise<FileInfo> {
    return this.submit({
      operation: 'stat',
      path: this.path,
      finish: () => this.context.disk.infoOf(this.inode),
    });
  }

  read(offset: number, buffer: Uint8Array, scan?: ZeroScan): Promise<void> {
    return this.readv(offset, [buffer], scan);
  }

  readv(offset: number, buffers: readonly Uint8Array[], scan?: ZeroScan): Promise<void> {
    const { engine, memory } = this.context;
    const fill = () => {
      let at = offset;
      for (const buffer of buffers) {
        this.inode.current.read(at, buffer);
        at += buffer.length;
      }
    };
    return this.submit(
      {
        operation: 'read',
        path: this.path,
        offset,
        length: lengthOf(buffers),
        start: () => {
          const now = engine.random.chance(0.25);
          if (now) fill();
          else for (const buffer of buffers) buffer.fill(POISON);
          return now;
        },
        finish: (early) => {
          if (!early) fill();
          if (scan !== undefined) memory.zeroMap(buffers[0], scan.granule, scan.map);
        },
      },
      buffers,
    );
  }

  write(offset: number, buffer: Uint8Array): Promise<void> {
    return this.writev(offset, [buffer]);
  }

  writev(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    const data = concatenate(buffers);
    const change: Change = { kind: 'write', offset, data };
    return this.change('write', offset, data.length, change, buffers);
  }

  beginRead(offset: number, buffer: Uint8Array, start: number, end: number, sink: RequestSink, tag: number): boolean {
    if (!this.takes(buffer)) return false;
    answerTo(sink, tag, this.read(offset, buffer.subarray(start, end)));
    return true;
  }

  beginWrite(offset: number, buffer: Uint8Array, start: number, end: number, sink: RequestSink, tag: number): boolean {
    if (!this.writable || !this.takes(buffer)) return false;
    answerTo(sink, tag, this.write(offset, buffer.subarray(start, end)));
    return true;
  }

  /**
   * For `Link.pushFile`: the bytes as they are now, or, by the seed, a function that returns them as they are when it is called. Null where they cannot be
   * held: on the real host that depends on what the page cache has.
   */
  hold(offset: number, length: number): Uint8Array | (() => Uint8Array) | null {
    const { engine } = this.context;
    if (this.closing !== undefined || this.direct || engine.dead) return null;
    if (offset + length > this.inode.current.size || engine.injector.mayFail('read', this.path)) return null;
    if (!engine.options.eager && engine.random.chance(0.25)) return null;
    const take = (): Uint8Array => {
      const bytes = new Uint8Array(length);
      this.inode.current.read(offset, bytes);
      return bytes;
    };
    return engine.options.eager || engine.random.chance(0.5) ? take() : take;
  }

  origin(): Promise<FileOrigin> {
    const finish = (): FileOrigin => ({ path: this.context.disk.resolve(this.path, 'stat'), ordinary: true });
    return this.submit({ operation: 'stat', path: this.path, finish });
  }

  /** True for a buffer that needs no copy, as on the real host. */
  private takes(buffer: Uint8Array): boolean {
    return this.closing === undefined && !this.direct && this.context.memory.owns(buffer);
  }

  errorOf(operation: 'read' | 'write', offset: number, length: number, result: number): BlockError {
    const name = Object.entries(constants.errno).find(([, value]) => value === -result)?.[0];
    return this.error(name ?? `E${-result}`, operation, offset, length);
  }

  flush(): Promise<void> {
    const { engine } = this.context;
    const issued = engine.tick;
    return this.submit({
      operation: 'flush',
      path: this.path,
      finish: () => {
        if (!engine.injector.plan.ignoreFlush) this.inode.flush(issued);
      },
      fail: () => {
        if (engine.injector.plan.failedFlushLoses) this.inode.forget(issued);
      },
    });
  }

  truncate(size: number): Promise<void> {
    return this.change('truncate', size, 0, { kind: 'resize', size });
  }

  allocate(offset: number, length: number, keepSize: boolean): Promise<void> {
    return this.change('allocate', offset, length, { kind: 'reserve', offset, length, keepSize });
  }

  punchHole(offset: number, length: number): Promise<void> {
    return this.change('punchHole', offset, length, { kind: 'punch', offset, length });
  }

  zeroRange(offset: number, length: number): Promise<void> {
    return this.change('zeroRange', offset, length, { kind: 'zero', offset, length });
  }

  discard(offset: number, length: number): Promise<void> {
    return this.change('discard', offset, length, { kind: 'punch', offset, length });
  }

  writeBackEvery(): void {}

  /** As a file system that takes both, and does nothing. */
  avoidCopies(): void {
    this.inode.hints = { ...this.inode.hints, noCow: true };
  }

  setExtentSize(bytes: number): void {
    this.inode.hints = { ...this.inode.hints, extentBytes: bytes };
  }

  /** As on the real host. */
  get movable(): boolean {
    return this.closing === undefined && !this.direct && !this.context.disk.unsupported.has('move');
  }

  seekSync(_offset: number): SeekResult | null {
    return null;
  }

  seek(offset: number): Promise<SeekResult> {
    const { disk } = this.context;
    return this.submit({
      operation: 'seek',
      path: this.path,
      offset,
      finish: () => {
        const { size } = this.inode.current;
        if (offset >= size) throw this.error('ENXIO', 'seek', offset, 0);
        return disk.unsupported.has('seek') ? { data: true, end: size } : this.inode.current.seek(offset);
      },
    });
  }

  copyRange(offset: number, target: HostFile, targetOffset: number, length: number): Promise<number> {
    const { engine, disk } = this.context;
    return this.submit({
      operation: 'copyRange',
      path: this.path,
      offset,
      length,
      finish: () => {
        if (disk.unsupported.has('copyRange') || !(target instanceof SimFile) || target.context !== this.context) {
          throw this.error('EOPNOTSUPP', 'copyRange', offset, length);
        }
        let count = Math.max(0, Math.min(length, this.inode.current.size - offset));
        if (!engine.options.eager && engine.random.chance(0.25)) count = Math.ceil(count / 2);
        const data = new Uint8Array(count);
        this.inode.current.read(offset, data);
        target.takeEffect('copyRange', { kind: 'write', offset: targetOffset, data }, engine.tick);
        return count;
      },
    });
  }

  lock(kind: LockKind, start: number, length: number): boolean {
    this.checkOpen('lock');
    return this.inode.locks.set(this, kind, start, start + length);
  }

  lockConflicts(kind: 'shared' | 'exclusive', start: number, length: number): boolean {
    this.checkOpen('lock');
    return this.inode.locks.conflicts(this, kind, start, start + length);
  }

  close(): Promise<void> {
    this.closing ??= new Promise<void>((resolve) => {
      this.whenIdle = () => {
        this.inode.locks.drop(this);
        resolve();
      };
      if (this.inFlight === 0) this.whenIdle();
    });
    return this.closing;
  }

  /** Submits a request that changes the file. `buffers`: the source of a write. */
  private change(
    operation: SimOperation,
    offset: number,
    length: number,
    change: Change,
    buffers: readonly Uint8Array[] = [],
  ): Promise<void> {
    if (!this.writable && this.closing === undefined) {
      const where = { path: this.path, operation, offset, length };
      return Promise.reject(new BlockError('read-only', `${this.path} is open for reading only`, where));
    }
    const { engine, disk } = this.context;
    const { random } = engine;
    const pending = { inode: this.inode, change };
    const escapesFlush = engine.injector.plan.escapesFlush;
    const request = { number: engine.requests + 1, operation, path: this.path, offset, length };
    const escapes = escapesFlush?.(request) ? 1 : 0;
    let entry: Volatile | undefined;
    return this.submit(
      {
        operation,
        path: this.path,
        offset,
        length,
        traced: change.kind === 'write' ? change.data : undefined,
        issued: () => disk.inFlight.add(pending),
        start: () => {
          const when = random.below(8);
          if (when > 2 || this.refusal(operation, change) !== undefined) return false;
          if (when === 2) {
            for (const part of tear(change, random)) this.inode.apply(part, engine.tick);
            return false;
          }
          entry = this.inode.apply(change, Number.POSITIVE_INFINITY, escapes);
          disk.inFlight.delete(pending);
          return true;
        },
        finish: () => {
          if (entry !== undefined) entry.answered = engine.tick;
          else this.takeEffect(operation, this.settleBuffer(change, buffers), engine.tick, escapes);
        },
        fail: () => {
          if (this.refusal(operation, change) !== undefined) return;
          for (const part of tear(change, random)) this.inode.apply(part, engine.tick);
        },
        settled: () => disk.inFlight.delete(pending),
      },
      buffers,
    );
  }

  /** Applies a change now; throws the error where the disk refuses it. */
  private takeEffect(operation: SimOperation, change: Change, answered: number, escapes = 0): void {
    const refused = this.refusal(operation, change);
    if (refused !== undefined) throw refused;
    this.inode.apply(change, answered, escapes);
    this.inode.mtimeMs = this.context.engine.now();
  }

  /** The error where the disk cannot make the change; undefined where it can. */
  private refusal(operation: SimOperation, change: Change): BlockError | undefined {
    const { disk } = this.context;
    const isFile = this.kind === 'file';
    const offset = change.kind === 'resize' ? change.size : change.offset;
    const length = change.kind === 'write' ? change.data.length : change.kind === 'resize' ? 0 : change.length;
    if (disk.unsupported.has(operation as SimFeature) || (operation === 'allocate' && !isFile)) {
      return this.error('EOPNOTSUPP', operation, offset, length);
    }
    if (operation === 'truncate') return isFile ? undefined : this.error('EINVAL', operation, offset, length);
    if (!isFile) {
      return offset + length > this.inode.current.size ? this.error('ENOSPC', operation, offset, length) : undefined;
    }
    if (change.kind === 'punch' || disk.capacity === Number.POSITIVE_INFINITY) return undefined;
    const needed = this.inode.current.missingPages(offset, length) * 4096;
    return needed > 0 && needed > disk.free ? this.error('ENOSPC', operation, offset, length) : undefined;
  }

  /**
   * The data of a write. Where the caller has changed the buffer while the write was in flight, each sector is, by the seed, the one of the time when the
   * request was made, or the one of now.
   */
  private settleBuffer(change: Change, buffers: readonly Uint8Array[]): Change {
    if (change.kind !== 'write' || this.context.engine.options.eager) return change;
    const { random } = this.context.engine;
    const now = concatenate(buffers);
    if (Buffer.compare(now, change.data) === 0) return change;
    const mixed = change.data.slice();
    const newer = { kind: 'write', offset: change.offset, data: now } as const;
    for (const part of sectorsOf(newer, () => random.chance(0.5))) {
      if (part.kind === 'write') mixed.set(part.data, part.offset - change.offset);
    }
    return { kind: 'write', offset: change.offset, data: mixed };
  }

  private submit<T>(work: Work<T>, buffers: readonly Uint8Array[] = []): Promise<T> {
    const { engine, memory } = this.context;
    const { operation, offset = 0, length = 0 } = work;
    if (this.closing !== undefined) {
      const where = { path: this.path, operation, offset, length };
      return Promise.reject(new BlockError('closed', `${this.path} is closed`, where));
    }
    if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(offset + length) || offset < 0 || length < 0) {
      return Promise.reject(this.error('EINVAL', operation, offset, length));
    }
    this.inFlight++;
    for (const buffer of buffers) memory.pin(buffer);
    return engine.submit({
      ...work,
      settled: () => {
        work.settled?.();
        for (const buffer of buffers) memory.unpin(buffer);
        if (--this.inFlight === 0 && this.closing !== undefined) this.whenIdle();
      },
    });
  }

  private checkOpen(operation: string): void {
    if (this.closing === undefined) return;
    throw new BlockError('closed', `${this.path} is closed`, { path: this.path, operation });
  }

  private error(errno: string, operation: SimOperation, offset: number, length: number): BlockError {
    return systemError(errno, { operation, path: this.path, offset, length });
  }
}

function answerTo(sink: RequestSink, tag: number, request: Promise<void>): void {
  const answer = (result: number) => {
    sink.completed(tag, result);
    sink.settled();
  };
  request.then(
    () => answer(0),
    (error: BlockError) => answer(-(constants.errno[error.errno as 'EIO'] ?? constants.errno.EIO)),
  );
}

function lengthOf(buffers: readonly Uint8Array[]): number {
  return buffers.reduce((sum, buffer) => sum + buffer.length, 0);
}

function concatenate(buffers: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(lengthOf(buffers));
  let at = 0;
  for (const buffer of buffers) {
    all.set(buffer, at);
    at += buffer.length;
  }
  return all;
}
