// The real host: files of the operating system, through the addon.
import { closeSync, constants, realpath, realpathSync, unlink } from 'node:fs';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { bool, choice, integer, type Shape, takeSettings } from '../../schema/shape.js';
import { BlockError, toBlockError } from '../../util/errors.js';
import { decodeName, encodeName } from '../../util/name-bytes.js';
import { nodeError } from '../errno.js';
import type {
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
import { loadNative, type Native } from './binding.js';
import { RealCharacters } from './character.js';
import { NativeCiphers } from './ciphers.js';
import { realClock } from './clock.js';
import { NativeCodecs } from './codecs.js';
import { Comparer } from './compare.js';
import { NO_FD } from './descriptor.js';
import { duplicate, isOpenFor } from './duplicate.js';
import { Engine, type EnginePlan, type Faults, Requester } from './engine.js';
import { RealFile, type RealFileOptions } from './file.js';
import { RealFolders } from './folders.js';
import { freeSpaceAt } from './free-space.js';
import { RealFuse } from './fuse.js';
import { RealHttp } from './http/client.js';
import { infoOfPath, kindOfType } from './info.js';
import { ArenaMemory } from './memory.js';
import { Mover, RealRun } from './move.js';
import { RealNet } from './net.js';
import { readSmall } from './small-file.js';
import { RealSsh } from './ssh.js';
import { Op } from './table.js';

export type EngineName = 'io_uring' | 'threads' | 'auto';

export interface RealHostOptions {
  /** Default: the value of DISKWRIGHT_ENGINE, otherwise `auto`: io_uring where it is available. */
  engine?: EngineName;
  /** Limit of the memory for buffers (`Memory.allocate`), in bytes. Default 1 GiB. */
  memoryLimit?: number;
  /** Requests that are under way in the addon at the same time; others wait in a queue. Default 1024. */
  slots?: number;
  /**
   * Reads of up to so many bytes are done on the JavaScript thread where the page cache has the data; larger ones are passed to a worker. Default 128 KiB
   * (12 us). A program that does nothing but copy sets it to the size of the copy's requests, which saves two thread hand-overs for each.
   */
  inlineReadBytes?: number;
  /**
   * The JavaScript thread itself opens, closes, resizes and flushes files and waits for the system meanwhile, which a hand-over to a worker would take
   * longer than. For a program that has nothing else to do. Default false.
   */
  waits?: boolean;
  /**
   * The JavaScript thread itself opens and closes files and asks for their state; the rest of `waits` is left to workers. For a program that has nothing to do before
   * its image is open. Default: as `waits`.
   */
  opens?: boolean;
}

/** Made at each call: node takes longer to make the first one than most commands can spare. */
const realPathOf = (path: Buffer): Promise<Buffer> =>
  (promisify(realpath.native) as unknown as (path: Buffer, encoding: 'buffer') => Promise<Buffer>)(path, 'buffer');

const DEFAULT_MEMORY_LIMIT = 1024 * 1024 * 1024;
const DEFAULT_SLOTS = 1024;
const DEFAULT_INLINE_READ_BYTES = 128 * 1024;
const OPTIONS: Shape<RealHostOptions> = {
  engine: choice('io_uring', 'threads', 'auto'),
  memoryLimit: integer(1),
  slots: integer(1, 65536),
  inlineReadBytes: integer(0),
  waits: bool,
  opens: bool,
};
const CREATE_FLAGS = {
  never: 0,
  keep: constants.O_CREAT,
  truncate: constants.O_CREAT,
  exclusive: constants.O_CREAT | constants.O_EXCL,
} as const;

/**
 * Opens a host. The `Workspace` that gets it also closes it. Throws `invalid-argument` for an engine that does not exist (option or DISKWRIGHT_ENGINE), `unsupported`
 * where io_uring is asked for and the system does not have it, or forbids it.
 */
export function openRealHost(options: RealHostOptions = {}): RealHost {
  const checked = takeSettings(OPTIONS, options, 'settings');
  const wanted = checked.engine ?? engineFromEnvironment();
  const {
    slots = DEFAULT_SLOTS,
    inlineReadBytes = DEFAULT_INLINE_READ_BYTES,
    memoryLimit = DEFAULT_MEMORY_LIMIT,
    waits = false,
    opens = waits,
  } = checked;
  const native = loadNative();
  const plan: EnginePlan = { ring: wanted !== 'threads', slots, inlineReadBytes, waits, opens };
  return new RealHost(native, startEngine(native, wanted, plan), memoryLimit);
}

function engineFromEnvironment(): EngineName {
  const name = process.env['DISKWRIGHT_ENGINE'] || 'auto';
  if (name === 'io_uring' || name === 'threads' || name === 'auto') return name;
  const text = `DISKWRIGHT_ENGINE is "${name}": it must be io_uring, threads or auto`;
  throw new BlockError('invalid-argument', text, { operation: 'open-host' });
}

function startEngine(native: Native, wanted: EngineName, plan: EnginePlan): Engine {
  try {
    return new Engine(native, plan);
  } catch (cause) {
    if (wanted === 'auto') return new Engine(native, { ...plan, ring: false });
    const { errno } = toBlockError(cause);
    const text = `io_uring was asked for, but the system does not provide it (${errno}); DISKWRIGHT_ENGINE=threads does without`;
    throw new BlockError('unsupported', text, { operation: 'open-host', errno, cause });
  }
}

export class RealHost implements Host {
  readonly engine: string;
  readonly clock = realClock;
  readonly memory: ArenaMemory;
  readonly passed: PassedDescriptors;
  #native: Native;
  #engine: Engine;
  // Made when they are needed: most commands need none of them.
  #codecs: NativeCodecs | undefined;
  #ciphers: NativeCiphers | undefined;
  #net: RealNet | undefined;
  #http: RealHttp | undefined;
  #ssh: RealSsh | undefined;
  #fuse: RealFuse | undefined;
  #characters: RealCharacters | undefined;
  #folders: RealFolders | undefined;
  #mover: Mover | undefined;
  #comparer: Comparer | undefined;
  #files = new Set<RealFile>();
  #closing: Promise<void> | undefined;

  constructor(native: Native, engine: Engine, memoryLimit: number) {
    this.#native = native;
    this.#engine = engine;
    this.engine = engine.ring ? 'io_uring' : 'threads';
    this.memory = new ArenaMemory(native, engine.calls, memoryLimit, !engine.waits);
    this.passed = new PassedDescriptors((fd) => closeSync(fd));
  }

  get codecs(): NativeCodecs {
    this.#codecs ??= new NativeCodecs(this.#engine, this.memory);
    return this.#codecs;
  }

  get ciphers(): NativeCiphers {
    this.#ciphers ??= new NativeCiphers(this.#engine, this.memory);
    return this.#ciphers;
  }

  get net(): RealNet {
    if (this.#net === undefined) {
      this.#net = new RealNet(this.#native, this.#engine.calls, this.memory, this.passed);
      // It refuses whatever is asked of it.
      if (this.#closing !== undefined) void this.#net.close();
    }
    return this.#net;
  }

  get http(): RealHttp {
    this.#http ??= new RealHttp();
    return this.#http;
  }

  get ssh(): RealSsh {
    this.#ssh ??= new RealSsh();
    return this.#ssh;
  }

  get fuse(): RealFuse {
    this.#fuse ??= new RealFuse(this.#native, this.#engine.calls, this.memory);
    return this.#fuse;
  }

  get characters(): RealCharacters {
    this.#characters ??= new RealCharacters(this.#native);
    return this.#characters;
  }

  get folders(): RealFolders {
    this.#folders ??= new RealFolders({
      open: async (at, flags, path) => {
        const found = await this.#openDescriptor(at, path, flags, false);
        return this.#file({ ...found, path, writable: false, direct: false, descriptor: null });
      },
      adopt: (fd, path) => this.#openAgain(path, { fd, release: () => undefined }, { writable: true }),
    });
    return this.#folders;
  }

  random(): number {
    // Loaded here: it takes 2 ms, which most commands need not spend.
    return process.getBuiltinModule('node:crypto').randomBytes(4).readUInt32LE();
  }

  async open(path: string, options: OpenFileOptions): Promise<HostFile> {
    const { writable, create = 'never', direct = false } = options;
    if (path.includes('\0')) {
      throw new BlockError('invalid-argument', 'a path cannot contain a NUL', { operation: 'open', path });
    }
    let flags = (writable ? constants.O_RDWR : constants.O_RDONLY) | CREATE_FLAGS[create];
    if (direct) flags |= constants.O_DIRECT;
    const passed =
      options.descriptor === undefined
        ? this.passed.find(path, flags & ~constants.O_CREAT, (fd) => isOpenFor(this.#native, fd, options))
        : { fd: options.descriptor, release: () => undefined };
    if (passed !== null) return this.#openAgain(path, passed, options);
    const found = await this.#openDescriptor(encodeName(path), path, flags, direct);
    const file = this.#file({ ...found, path, writable, direct, descriptor: null });
    if (create === 'truncate') await this.#truncated(file);
    return file;
  }

  /** Opens what is open already. `release` is called when the file is closed. */
  async #openAgain(path: string, passed: { fd: number; release: () => void }, options: OpenFileOptions) {
    let file: RealFile;
    try {
      const found = duplicate(this.#native, path, passed.fd, options);
      this.#engine.calls.adoptFile(found.fd);
      file = this.#file({ ...found, path, writable: options.writable, descriptor: found.fd }, passed.release);
    } catch (error) {
      passed.release();
      throw error;
    }
    if (options.create === 'truncate') await this.#truncated(file);
    return file;
  }

  async #truncated(file: RealFile): Promise<void> {
    if (file.kind !== 'file') return;
    try {
      await file.truncate(0);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  stat(path: string): Promise<FileInfo> {
    const passed = this.passed.find(path, constants.O_RDONLY, () => true);
    if (passed !== null) {
      passed.release();
      return infoOfPath(this.#native, `/proc/self/fd/${passed.fd}`, this.#engine.opens);
    }
    return infoOfPath(this.#native, path, this.#engine.opens);
  }

  async realPath(path: string): Promise<string> {
    try {
      const name = encodeName(path);
      return decodeName(this.#engine.opens ? realpathSync.native(name, 'buffer') : await realPathOf(name));
    } catch (error) {
      throw nodeError(error, { operation: 'real-path', path });
    }
  }

  absolute(path: string): string {
    return resolve(path);
  }

  async unlink(path: string): Promise<void> {
    try {
      await promisify(unlink)(encodeName(path));
    } catch (error) {
      throw nodeError(error, { operation: 'unlink', path });
    }
  }

  async freeSpace(path: string): Promise<number> {
    return freeSpaceAt(path);
  }

  readSmall(path: string, limit: number): Promise<Uint8Array> {
    return readSmall(path, limit);
  }

  openRun(next: number): MoveRun {
    return new RealRun(this.memory, next);
  }

  move(request: MoveRequest): Promise<Moved> {
    this.#mover ??= new Mover(this.#engine, this.memory);
    return this.#mover.move(request);
  }

  compare(request: CompareRequest): Promise<Compared> {
    this.#comparer ??= new Comparer(this.#engine, this.memory);
    return this.#comparer.compare(request);
  }

  submit(): void {
    this.#engine.submit();
  }

  guestCame(): void {
    this.#engine.guestCame();
  }

  /** Closes the sockets and files that are still open, waits for requests in flight, and frees threads and memory. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** For tests: makes system calls behave as `faults` says, from now on. */
  setFaults(faults: Faults): void {
    this.#engine.setFaults(faults);
  }

  async #close(): Promise<void> {
    await this.#net?.close();
    await this.#fuse?.close();
    const closed = await Promise.allSettled([...this.#files].map((file) => file.close()));
    this.passed.close();
    this.memory.close();
    await this.#engine.close();
    for (const result of closed) if (result.status === 'rejected') throw result.reason;
  }

  #file(options: RealFileOptions, release: () => void = () => undefined): RealFile {
    const file = new RealFile(this.#engine, this.memory, options, (closed) => {
      this.#files.delete(closed);
      release();
    });
    this.#files.add(file);
    return file;
  }

  /** Opens what `bytes` name; messages call it `path`. */
  async #openDescriptor(bytes: Buffer, path: string, flags: number, direct: boolean) {
    const name = this.memory.allocate(bytes.byteLength + 1);
    const findings = this.memory.allocate(12);
    try {
      name.set(bytes);
      name[bytes.byteLength] = 0;
      const request = this.#engine.prepare(Op.open, NO_FD);
      request.address = this.memory.addressOf(name);
      request.length = bytes.byteLength;
      request.extra = flags;
      request.address2 = this.memory.addressOf(findings);
      const fd = await this.#engine.start(new Requester(path));
      const [memoryAlignment, alignment, type] = new Uint32Array(findings.buffer, findings.byteOffset, 3);
      return { fd, memoryAlignment, alignment, kind: kindOfType(type) };
    } catch (error) {
      throw direct ? explainDirect(error, path) : error;
    } finally {
      this.memory.free(name);
      this.memory.free(findings);
    }
  }
}

/** With O_DIRECT, EINVAL from open means that the file system does not support it. */
function explainDirect(error: unknown, path: string): unknown {
  if (!(error instanceof BlockError) || error.errno !== 'EINVAL') return error;
  const why = 'the file system does not support O_DIRECT (cache.direct=on)';
  return BlockError.at(path, 'unsupported', why, { operation: 'open', errno: 'EINVAL', cause: error });
}
