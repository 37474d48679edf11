// Files that are mounted: by mount(2), or where this user may not do that, by the program fusermount3, which is set-uid and passes the descriptor that it has opened.
//
//   openFuse -> mount(2) --------------------------------+-> channel in the addon
//          \-> not allowed: fusermount3, _FUSE_COMMFD ---+
//
// See native/fuse.h for the row of a channel.
import { closeSync } from 'node:fs';
import { readFile, realpath, stat } from 'node:fs/promises';
import { constants } from 'node:os';
import { bestEffort, orElse } from '../../util/best-effort.js';
import { reportUnexpected } from '../../util/diagnostics.js';
import { BlockError } from '../../util/errors.js';
import { decodeName, encodeName } from '../../util/name-bytes.js';
import { errnoName, systemWords } from '../errno.js';
import { FUSE_MAX_IO_BYTES, type Fuse, type FuseChannel, type FuseMountRequest, type FuseOwner } from '../fuse.js';
import type { Native, NativeEngine } from './binding.js';
import { mountByHelper, unmountByHelper } from './fuse-helper.js';
import type { ArenaMemory } from './memory.js';
import { type MountEntry, mountsIn } from './mounts.js';

const { EPERM, EACCES, ENOENT, ENODEV, ENXIO, ENOTCONN, EINVAL } = constants.errno;
const LIMIT = 256;
const ROW_DOUBLES = 8;
const TABLE_BYTES = 4096;
const TABLE_PIECES = TABLE_BYTES / 16;
/** Room for the headers of a write and the most data that one has; the kernel reads into no less. */
const LEAST_READ_BYTES = 80 + FUSE_MAX_IO_BYTES;
const KIND = 'diskwright';
const NO_OWNER: FuseOwner = { received: () => {}, closed: () => {} };

/** The same for the kernel and fusermount3; the rest is added for each. */
const OPTIONS = `default_permissions,max_read=${FUSE_MAX_IO_BYTES}`;

export class RealFuse implements Fuse {
  readonly native: Native;
  readonly calls: NativeEngine;
  readonly memory: ArenaMemory;
  readonly rows: Float64Array;
  readonly #channels: (RealFuseChannel | null)[] = [];
  /** Paths that are being mounted, or are. */
  readonly #paths = new Set<string>();

  constructor(native: Native, calls: NativeEngine, memory: ArenaMemory) {
    this.native = native;
    this.calls = calls;
    this.memory = memory;
    const rows = new ArrayBuffer(LIMIT * ROW_DOUBLES * 8);
    this.rows = new Float64Array(rows);
    calls.openFuseChannels(rows, (id, count) => this.#channels[id]?.onEvent(count));
  }

  async mount(request: FuseMountRequest): Promise<FuseChannel> {
    const path = await this.#mountPoint(request.path);
    if (this.#paths.has(path)) {
      throw new BlockError('exists', `There already is a FUSE export on '${request.path}'`, { path: request.path });
    }
    this.#paths.add(path);
    try {
      return await this.#mountAt(path, request);
    } catch (error) {
      this.#paths.delete(path);
      throw error;
    }
  }

  /** Unmounts what is mounted. */
  async close(): Promise<void> {
    for (const channel of this.#channels) {
      if (channel === null) continue;
      // Closing it tells its users that it is gone, mounted or not.
      await channel.unmount().catch(bestEffort('fuse'));
      channel.close();
    }
  }

  /** Called by a channel: its number and its path are free. */
  left(id: number, path: string): void {
    this.#channels[id] = null;
    this.#paths.delete(path);
  }

  /** The real path of a regular file. A dead mount (its program was killed) is taken out of the way. */
  async #mountPoint(name: string): Promise<string> {
    const failed = (error: unknown): never => {
      const errno = (error as NodeJS.ErrnoException).code ?? 'EIO';
      throw new BlockError(
        errno === 'ENOENT' ? 'not-found' : errno === 'EACCES' ? 'permission' : 'io',
        `Failed to stat '${name}': ${systemWords(errno)}`,
        { path: name, errno },
      );
    };
    const find = async () => {
      const bytes = encodeName(name);
      const info = await stat(bytes);
      return { info, path: decodeName(await realpath(bytes, 'buffer')) };
    };
    let found: Awaited<ReturnType<typeof find>>;
    try {
      found = await find();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).errno !== -ENOTCONN) return failed(error);
      await this.#removeDead(name);
      found = await find().catch(failed);
    }
    if (found.info.isFile()) return found.path;
    throw new BlockError('invalid-argument', `'${name}' is not a regular file`, { path: name });
  }

  async #removeDead(name: string): Promise<void> {
    // Its folder is not dead.
    const at = name.lastIndexOf('/');
    const folder = await realpath(encodeName(at < 0 ? '.' : name.slice(0, at + 1)), 'buffer');
    const path = `${decodeName(folder).replace(/\/$/, '')}/${name.slice(at + 1)}`;
    await this.unmount(path);
  }

  /** Unmounts lazily. Rejects with the system's error. */
  async unmount(path: string): Promise<void> {
    const failed = await this.native.unmountFuse(encodeName(path), true);
    if (failed === 0 || failed === -EINVAL) return;
    const errno = errnoName(-failed);
    if (failed === -EPERM) {
      await unmountByHelper(path);
      return;
    }
    throw new BlockError('io', `Failed to unmount '${path}': ${systemWords(errno)}`, { path, errno });
  }

  async #mountAt(path: string, request: FuseMountRequest): Promise<FuseChannel> {
    const { allowOther } = request;
    if (allowOther !== 'auto') return this.#open(path, request, allowOther === 'on');
    try {
      return await this.#open(path, request, true);
    } catch (error) {
      if (!(error instanceof BlockError) || error.code !== 'permission') throw error;
      return this.#open(path, request, false);
    }
  }

  async #open(path: string, request: FuseMountRequest, allowOther: boolean): Promise<FuseChannel> {
    const fd = await this.#descriptor(path, request, allowOther);
    const entry = await entryAt(path).catch(orElse('fuse', undefined));
    // From here on at once: another mount may look for a free number meanwhile.
    const free = this.#channels.indexOf(null);
    const id = free < 0 ? this.#channels.length : free;
    const failed = id < LIMIT ? this.calls.fuseAttach(id, fd) : -constants.errno.EMFILE;
    if (failed !== 0) {
      if (id >= LIMIT) closeSync(fd);
      await this.unmount(path);
      throw new BlockError('limit', `Failed to mount FUSE session to export: ${systemWords(errnoName(-failed))}`, {
        path: request.path,
      });
    }
    const channel = new RealFuseChannel(this, id, path, entry, allowOther);
    this.#channels[id] = channel;
    return channel;
  }

  /** Mounts it, and returns the descriptor of the kernel's end. */
  async #descriptor(path: string, request: FuseMountRequest, allowOther: boolean): Promise<number> {
    const fd = this.native.openFuse();
    if (fd === -ENOENT || fd === -ENODEV || fd === -ENXIO) {
      const why = 'this system has no FUSE: there is no /dev/fuse';
      throw new BlockError('unsupported', why, { operation: 'mount', errno: errnoName(-fd) });
    }
    const options = allowOther ? `${OPTIONS},allow_other` : OPTIONS;
    if (fd >= 0) {
      const ids = `rootmode=100000,user_id=${process.getuid?.() ?? 0},group_id=${process.getgid?.() ?? 0}`;
      const all = `fd=${fd},${ids},${options}`;
      const failed = await this.native.mountFuse(request.source, encodeName(path), `fuse.${KIND}`, all);
      if (failed === 0) return fd;
      closeSync(fd);
      if (failed !== -EPERM) throw mountError(request.path, -failed);
    } else if (fd !== -EACCES && fd !== -EPERM) throw mountError(request.path, -fd);
    const named = `${options},subtype=${KIND},fsname=${request.source},nosuid,nodev`;
    return mountByHelper(this.native, path, request.path, named);
  }
}

function mountError(path: string, errno: number): BlockError {
  const name = errnoName(errno);
  const code = name === 'EACCES' || name === 'EPERM' ? 'permission' : name === 'EBUSY' ? 'busy' : 'io';
  return new BlockError(code, `Failed to mount '${path}': ${systemWords(name)}`, {
    path,
    errno: name,
    operation: 'mount',
  });
}

/** The topmost mount at `path`. */
async function entryAt(path: string): Promise<MountEntry | undefined> {
  return mountsIn(await readFile('/proc/self/mountinfo')).findLast((entry) => entry.path === path);
}

class RealFuseChannel implements FuseChannel {
  owner: FuseOwner = NO_OWNER;
  readonly path: string;
  readonly allowsOther: boolean;
  readonly #fuse: RealFuse;
  #id: number;
  /** The mount's device, by which it is told from others at the same path. */
  readonly #device: string | undefined;
  readonly #table: Uint8Array;
  readonly #pairs: Float64Array;
  readonly #tableAddress: number;
  #count = 0;
  #closed = false;

  constructor(fuse: RealFuse, id: number, path: string, entry: MountEntry | undefined, allowsOther: boolean) {
    this.#fuse = fuse;
    this.#id = id;
    this.path = path;
    this.#device = entry?.device;
    this.allowsOther = allowsOther;
    this.#table = fuse.memory.allocate(TABLE_BYTES);
    this.#pairs = new Float64Array(this.#table.buffer, this.#table.byteOffset, TABLE_BYTES / 8);
    this.#tableAddress = fuse.memory.addressOf(this.#table);
  }

  window(block: Uint8Array | null): void {
    if (this.#id < 0) return;
    const { rows, memory, calls } = this.#fuse;
    const at = this.#id * ROW_DOUBLES;
    rows[at] = block === null ? 0 : memory.addressOf(block);
    rows[at + 1] = block === null ? 0 : block.byteLength;
    rows[at + 2] = LEAST_READ_BYTES;
    if (block !== null) calls.fuseArm(this.#id);
  }

  push(buffer: Uint8Array, start: number, end: number): void {
    if (this.#count === TABLE_PIECES) this.flush();
    this.#pairs[2 * this.#count] = this.#fuse.memory.addressOf(buffer) + start;
    this.#pairs[2 * this.#count + 1] = end - start;
    this.#count++;
  }

  flush(): void {
    const count = this.#count;
    this.#count = 0;
    if (count === 0 || this.#id < 0) return;
    const failed = this.#fuse.calls.fuseReply(this.#id, this.#tableAddress, count);
    if (failed === 0) return;
    const why = `an answer for '${this.path}' was refused: ${systemWords(errnoName(-failed))}`;
    reportUnexpected('fuse', new BlockError('internal', why, { path: this.path, errno: errnoName(-failed) }));
  }

  async unmount(): Promise<void> {
    // Something else may be mounted there by now.
    const entry = await entryAt(this.path);
    if (entry !== undefined && entry.device === this.#device) await this.#fuse.unmount(this.path);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#id >= 0) this.#fuse.calls.fuseClose(this.#id);
    this.#leave();
    this.#fuse.memory.free(this.#table);
  }

  onEvent(count: number): void {
    if (count > 0) {
      this.owner.received(count);
      return;
    }
    this.#leave();
    const errno = errnoName(-count);
    const why = `reading requests of '${this.path}' failed: ${systemWords(errno)}`;
    this.owner.closed(count === 0 ? null : new BlockError('io', why, { path: this.path, errno }));
  }

  /** The number is another's from now on. The table is not, before `close`: the owner still queues answers. */
  #leave(): void {
    const id = this.#id;
    if (id < 0) return;
    this.#id = -1;
    this.#fuse.left(id, this.path);
  }
}
