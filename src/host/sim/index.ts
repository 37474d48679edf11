// The simulated host: a seeded disk in memory, a clock that jumps, and the faults of real disks.
//
// Which faults are survivable (code that writes to a file can rely on this, and on no more):
//  - A write is volatile until a flush that was issued after the write's answer has completed. Power loss keeps, drops or tears
//    each volatile change by itself, in whatever order (changes.ts). 512-byte sectors are never torn.
//  - Sizes, holes, zeroed ranges and reservations are volatile in the same way. A kept write makes the file as long as necessary.
//  - Creating and removing a file is durable at once.
//  - A request in flight at power loss may have reached the disk, in whole or in part; it is never answered.
//  - A write that fails may have written some of its sectors. A flush that fails has made nothing durable (or, if the plan says so,
//    has dropped the changes that it should have written, as Linux does).
//  - Requests take effect at some time between call and answer, and are answered in any order.
//
//   SimHost --- SimEngine   events, clock, faults, trace        SimFile --- Inode --- SparseBytes (current, durable)
//          \--- SimDisk     names, room                               \---- LockTable
//          \--- SimNet      pairs of links in memory; `net.cut()` cuts them
//          \--- SimHttp     a server that a test makes up
//
// Two modes. `eager` (without a seeded schedule; for plain unit tests): requests take effect at once and are answered in a
// microtask; `await` as usual; timers jump as soon as nothing else can run. Otherwise `host.run(promise)` drives the run, and
// the same seed gives the same run.

import { posix } from 'node:path';
import { BlockError } from '../../util/errors.js';
import type {
  Codecs,
  Compared,
  CompareRequest,
  FileInfo,
  Host,
  HostFile,
  Moved,
  MoveRequest,
  MoveRun,
  OpenFileOptions,
} from '../host.js';
import { PassedDescriptors } from '../passed-descriptors.js';
import { tooLarge } from '../small-file.js';
import { type CrashStyle, crashStyle } from './changes.js';
import { SIM_CHARACTERS } from './character.js';
import * as check from './checks.js';
import { SimCiphers } from './ciphers.js';
import { compressNow, decompressNow, missingNow } from './codecs.js';
import { compareNow } from './compare.js';
import { SimDisk, type SimFeature } from './disk.js';
import { type LogEntry, SimEngine, SimPowerLoss, systemError } from './engine.js';
import type { FaultPlan, FaultRule, SimOperation, SimRequest } from './faults.js';
import { type FileContext, SimFile } from './file.js';
import { SIM_FOLDERS } from './folders.js';
import { SimFuse } from './fuse.js';
import { SimHttp } from './http.js';
import { SimMemory } from './memory.js';
import { moveNow, SimRun } from './move.js';
import { SimNet } from './net.js';
import type { SimHostOptions } from './options.js';
import { Random } from './random.js';
import { SimSsh } from './ssh.js';

export type { CrashStyle, SimHostOptions, SimRequest };
export { type FaultPlan, type FaultRule, type LogEntry, Random, type SimFeature, type SimOperation, SimPowerLoss };

export class SimHost implements Host {
  readonly engine = 'simulated';
  readonly seed: number;
  readonly clock: SimEngine;
  readonly memory: SimMemory;
  readonly codecs: Codecs;
  readonly ciphers: SimCiphers;
  readonly net: SimNet;
  /** A test sets who answers. */
  readonly http: SimHttp;
  /** A test sets the files of the server, and what becomes of requests. */
  readonly ssh: SimSsh;
  /** A test is the kernel. */
  readonly fuse = new SimFuse();
  readonly characters = SIM_CHARACTERS;
  readonly folders = SIM_FOLDERS;
  /** There are no descriptors in the simulation. */
  readonly passed = new PassedDescriptors(() => undefined);
  private readonly disk: SimDisk;
  private readonly options: SimHostOptions;
  private readonly drawn: Random;
  private readonly context: FileContext;

  constructor(options: SimHostOptions, disk?: SimDisk) {
    check.checkHostOptions(options);
    this.options = options;
    this.seed = options.seed ?? 1;
    this.clock = new SimEngine({
      seed: this.seed,
      eager: options.eager ?? (options.seed === undefined && options.faults === undefined),
      manualClock: options.manualClock ?? false,
      faults: options.faults ?? {},
      log: options.log ?? false,
      onRequest: options.onRequest,
    });
    this.memory = new SimMemory(options.memoryLimit ?? 1024 * 1024 * 1024);
    this.disk = disk ?? new SimDisk(Number.POSITIVE_INFINITY, new Set());
    this.disk.capacity = options.capacity ?? Number.POSITIVE_INFINITY;
    this.disk.unsupported = new Set(options.unsupported);
    this.drawn = new Random(this.seed, 3);
    this.codecs = this.makeCodecs();
    this.ciphers = new SimCiphers(this.clock, () => this.random());
    this.net = new SimNet(this.clock);
    this.http = new SimHttp(this.clock);
    this.ssh = new SimSsh(this.clock);
    this.context = {
      engine: this.clock,
      disk: this.disk,
      memory: this.memory,
      directAlignment: options.directAlignment ?? 512,
    };
  }

  random(): number {
    return this.drawn.next();
  }

  open(path: string, options: OpenFileOptions): Promise<HostFile> {
    const { clock, disk, context } = this;
    return clock.submit({
      operation: 'open',
      path,
      finish: () => {
        if (options.descriptor !== undefined) {
          throw BlockError.at(path, 'unsupported', 'a simulated host has no file descriptors', { operation: 'open' });
        }
        const create = options.create ?? 'never';
        const real = disk.resolve(path, 'open');
        let inode = disk.find(path, 'open');
        const fail = (errno: string) => systemError(errno, { operation: 'open', path, offset: 0, length: 0 });
        if (inode === undefined && disk.isDirectory(real)) throw fail('EISDIR');
        if (inode === undefined && create === 'never') throw fail('ENOENT');
        if (inode !== undefined && create === 'exclusive') throw fail('EEXIST');
        if (inode !== undefined && create === 'truncate' && inode.kind === 'file') {
          inode.apply({ kind: 'resize', size: 0 }, clock.tick);
        }
        inode ??= disk.create(path, 'file', 'open');
        return new SimFile(context, path, inode, { writable: options.writable, direct: options.direct ?? false });
      },
    });
  }

  stat(path: string): Promise<FileInfo> {
    const { disk } = this;
    return this.clock.submit({
      operation: 'stat',
      path,
      finish: () => {
        const inode = disk.find(path, 'stat');
        if (inode === undefined && disk.isDirectory(disk.resolve(path, 'stat'))) {
          return { kind: 'directory', size: 4096, allocated: 4096, id: '1:0', mtimeMs: 0 } as const;
        }
        return disk.infoOf(disk.get(path, 'stat'));
      },
    });
  }

  absolute(path: string): string {
    return posix.resolve('/', path);
  }

  realPath(path: string): Promise<string> {
    const { disk } = this;
    return this.clock.submit({
      operation: 'stat',
      path,
      finish: () => {
        const real = disk.resolve(path, 'stat');
        if (!disk.isDirectory(real)) disk.get(path, 'stat');
        return real;
      },
    });
  }

  unlink(path: string): Promise<void> {
    return this.clock.submit({ operation: 'unlink', path, finish: () => this.disk.unlink(path) });
  }

  freeSpace(path: string): Promise<number> {
    return this.clock.submit({
      operation: 'stat',
      path,
      finish: () => Math.min(Number.MAX_SAFE_INTEGER, this.disk.free),
    });
  }

  readSmall(path: string, limit: number): Promise<Uint8Array> {
    return this.clock.submit({
      operation: 'read',
      path,
      finish: () => {
        const { current } = this.disk.get(path, 'open');
        if (current.size > limit) throw tooLarge(path, limit);
        const content = new Uint8Array(current.size);
        current.read(0, content);
        return content;
      },
    });
  }

  openRun(next: number): MoveRun {
    return new SimRun(next);
  }

  /** The parts of the step are requests of their own here, each with the faults and the schedule of its kind. */
  move(request: MoveRequest): Promise<Moved> {
    return moveNow(this.memory, request);
  }

  compare(request: CompareRequest): Promise<Compared> {
    return compareNow(this.memory, request);
  }

  /** Nothing to do: requests take effect when they are made. */
  submit(): void {}

  guestCame(): void {}

  async close(): Promise<void> {
    this.clock.stop();
  }

  /** Drives a seeded run until the promise settles. Rejects with `SimPowerLoss`, or an error that says `deadlock`. */
  run<T>(work: Promise<T> | (() => Promise<T>)): Promise<T> {
    return this.clock.run(typeof work === 'function' ? work() : work);
  }

  /** Lets `ms` milliseconds pass (for `manualClock`). */
  async advance(ms: number): Promise<void> {
    check.checkMs(ms);
    return this.clock.advance(ms);
  }

  /** Replaces the fault plan from now on. Throws as `createSimHost`. */
  setFaults(plan: FaultPlan): void {
    check.checkFaults(plan);
    this.clock.injector.plan = plan;
  }

  /** Bytes that all files together have allocated. */
  get used(): number {
    return this.disk.used;
  }

  /** Sets the capacity of the disk in bytes, as if another of its users had taken or freed space. It may be less than is in use. */
  setCapacity(bytes: number): void {
    check.checkCapacity(bytes);
    this.disk.capacity = bytes;
  }

  /** Switches the power off: no request is answered any more. */
  powerOff(): void {
    this.clock.powerOff();
  }

  /**
   * The machine after power loss (which happens now, if it has power still): a new host with the content that survived, without open files and locks, and
   * without faults unless `options` has some. By default its seed is derived from this one's. `style`: what happens to volatile changes; default: random.
   */
  crash(options: SimHostOptions = {}, style?: CrashStyle): SimHost {
    check.checkHostOptions(options);
    if (style !== undefined) check.checkStyle(style);
    this.powerOff();
    const random = new Random(this.seed, 4);
    const survived = this.disk.afterPowerLoss(style ?? crashStyle(random), random);
    return new SimHost(this.inherit(options, random.next()), survived);
  }

  /** A new host with the present content, all of it durable. This host is not affected. */
  fork(options: SimHostOptions = {}): SimHost {
    check.checkHostOptions(options);
    return new SimHost(this.inherit(options, this.seed), this.disk.copy());
  }

  private inherit(options: SimHostOptions, seed: number): SimHostOptions {
    const { faults: _faults, onRequest: _onRequest, ...lasting } = this.options;
    return { ...lasting, seed, eager: this.clock.options.eager, ...options };
  }

  /** Creates a file, or replaces the content of an existing one, at once and durably. */
  writeFile(path: string, content: Uint8Array): void {
    check.checkPath(path);
    check.checkContent(content);
    const inode = this.disk.find(path, 'open') ?? this.disk.create(path, 'file', 'open');
    inode.applyDurably({ kind: 'resize', size: 0 });
    inode.applyDurably({ kind: 'write', offset: 0, data: content });
  }

  /** Writes `content` at `offset` of a file, which is created where it does not exist, at once and durably. */
  patchFile(path: string, offset: number, content: Uint8Array): void {
    check.checkPath(path);
    check.checkBytes(offset, 'offset');
    check.checkContent(content);
    const inode = this.disk.find(path, 'open') ?? this.disk.create(path, 'file', 'open');
    inode.applyDurably({ kind: 'write', offset, data: content });
  }

  /** Sets the size of a file, which is created where it does not exist, at once and durably. */
  resizeFile(path: string, size: number): void {
    check.checkPath(path);
    check.checkBytes(size, 'size');
    const inode = this.disk.find(path, 'open') ?? this.disk.create(path, 'file', 'open');
    inode.applyDurably({ kind: 'resize', size });
  }

  /** Creates a block device of fixed size, full of zeroes. */
  createDevice(path: string, size: number): void {
    check.checkPath(path);
    check.checkBytes(size, 'size');
    this.disk.create(path, 'block', 'open').applyDurably({ kind: 'resize', size });
  }

  symlink(path: string, target: string): void {
    check.checkPath(path);
    check.checkPath(target, 'target');
    this.disk.link(path, target);
  }

  /** The content that a reader sees now: the whole file, or a range of it. Throws `not-found`. */
  readFile(path: string, offset = 0, length?: number): Uint8Array {
    check.checkPath(path);
    check.checkBytes(offset, 'offset');
    if (length !== undefined) check.checkBytes(length, 'length');
    const { current } = this.disk.get(path, 'read');
    const content = new Uint8Array(length ?? Math.max(0, current.size - offset));
    current.read(offset, content);
    return content;
  }

  /** The content that is certainly on the disk. Throws `not-found`. */
  durableFile(path: string): Uint8Array {
    check.checkPath(path);
    const bytes = this.disk.get(path, 'read').durableContent();
    const content = new Uint8Array(bytes.size);
    bytes.read(0, content);
    return content;
  }

  fileSize(path: string): number {
    check.checkPath(path);
    return this.disk.get(path, 'stat').current.size;
  }

  /** What the file system was asked for when the file was made (`nocow`, `extent-size-hint` in bytes). */
  hintsOf(path: string): { readonly noCow: boolean; readonly extentBytes: number } {
    check.checkPath(path);
    return this.disk.get(path, 'stat').hints;
  }

  exists(path: string): boolean {
    check.checkPath(path);
    return this.disk.find(path, 'stat') !== undefined;
  }

  files(): string[] {
    return this.disk.paths();
  }

  /** Requests issued so far, and how many of each kind. */
  get requests(): number {
    return this.clock.requests;
  }

  count(operation: SimOperation): number {
    check.operation(operation, 'operation');
    return this.clock.counts[operation] ?? 0;
  }

  get log(): readonly LogEntry[] {
    return this.clock.log;
  }

  traceHash(): string {
    return this.clock.traceHash();
  }

  private makeCodecs(): Codecs {
    const { clock } = this;
    const checked = (output: Uint8Array, input: Uint8Array) => {
      if (output.buffer === input.buffer && overlap(output, input)) {
        throw new BlockError('internal', 'input and output of a codec overlap');
      }
    };
    return {
      description: 'simulated (node:zlib, zstd of the addon)',
      missing: missingNow,
      compress: (type, input, output, level) =>
        clock.submit({
          operation: 'compress',
          path: type,
          length: input.length,
          finish: () => {
            checked(output, input);
            return compressNow(type, input, output, level);
          },
        }),
      decompress: (type, input, output) =>
        clock.submit({
          operation: 'decompress',
          path: type,
          length: input.length,
          finish: () => {
            checked(output, input);
            decompressNow(type, input, output);
          },
        }),
    };
  }
}

function overlap(a: Uint8Array, b: Uint8Array): boolean {
  return a.byteOffset < b.byteOffset + b.length && b.byteOffset < a.byteOffset + a.length;
}

/**
 * Creates a simulated host. Without a seed and faults it is eager: it can be used without `run`. Throws `unknown-option` for an unknown member, and
 * `invalid-argument` for a wrong type or value.
 */
export function createSimHost(options: SimHostOptions = {}): SimHost {
  return new SimHost(options);
}
