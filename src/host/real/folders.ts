// Folders of the operating system. Node has no openat(2): /proc/self/fd/N/NAME is NAME in the folder that N has open, and O_NOFOLLOW keeps a link with
// that name from being followed. A path is walked in such steps, each from the folder that the step before has opened.

import type { BigIntStats, Dir } from 'node:fs';
import {
  access,
  close,
  constants,
  fchmodSync,
  fstatSync,
  fsync,
  link,
  lstat,
  lutimes,
  mkdir,
  open,
  opendir,
  readFile,
  readlink,
  rename,
  rmdir,
  unlink,
} from 'node:fs';
import { constants as osConstants } from 'node:os';
import { promisify } from 'node:util';
import { bestEffort } from '../../util/best-effort.js';
import { BlockError } from '../../util/errors.js';
import { decodeName, encodeName } from '../../util/name-bytes.js';
import { errnoError, nodeError } from '../errno.js';
import { checkEntryName, pathBelow } from '../folder.js';
import type { FolderEntry, FolderPath, Folders, HostFile, HostFolder } from '../host.js';
import { idOf, kindOfMode } from './info.js';
import { mountsBelow } from './mounts.js';
import { permissionsOfNewFile } from './umask.js';

const { O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_RDWR, W_OK, X_OK } = constants;
/** A file's set-uid, set-gid and sticky bits are left out: they are not to be given to other content. */
const FILE_PERMISSION_BITS = 0o777;
const FOLDER_PERMISSION_BITS = 0o7777;
/** A file system without hard links, or one that is not to have them. */
const NO_LINKS: ReadonlySet<unknown> = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK']);

// `promisify` is used because node:fs/promises takes 3 ms to load.
const openOf = promisify(open) as (path: Buffer, flags: number, mode?: number) => Promise<number>;
const closeOf = promisify(close);
const openDirOf = promisify(opendir) as unknown as (path: string, options: { encoding: 'buffer' }) => Promise<Dir>;
const lstatOf = promisify(lstat) as (path: Buffer, options: { bigint: true }) => Promise<BigIntStats>;
const mkdirOf = promisify(mkdir) as (path: Buffer, mode?: number) => Promise<void>;
const readlinkOf = promisify(readlink) as (path: string, options: { encoding: 'buffer' }) => Promise<Buffer>;
const unlinkOf = promisify(unlink);

const KINDS: Readonly<Record<string, FolderEntry['kind']>> = { file: 'file', directory: 'folder', link: 'link' };

export interface FolderFiles {
  /** Opens the file at the first path for reading; messages call it by the second. */
  open(at: Buffer, flags: number, path: string): Promise<HostFile>;
  /** A file that is open for reading and writing; the descriptor stays the caller's. */
  adopt(fd: number, path: string): Promise<HostFile>;
}

export class RealFolders implements Folders {
  readonly #files: FolderFiles;

  constructor(files: FolderFiles) {
    this.#files = files;
  }

  async open(path: string): Promise<HostFolder> {
    if (path.includes('\0')) {
      throw new BlockError('invalid-argument', 'a path cannot contain a NUL', { operation: 'open', path });
    }
    let fd: number;
    try {
      fd = await openOf(encodeName(path), O_RDONLY | O_DIRECTORY | O_NONBLOCK);
    } catch (error) {
      throw nodeError(error, { operation: 'open', path });
    }
    return new RealFolder(path, fd, this.#files);
  }
}

class RealFolder implements HostFolder {
  readonly path: string;
  readonly #fd: number;
  readonly #files: FolderFiles;
  #closed = false;

  constructor(path: string, fd: number, files: FolderFiles) {
    this.path = path;
    this.#fd = fd;
    this.#files = files;
  }

  entries(folder: FolderPath, most: number): Promise<FolderEntry[]> {
    return this.#inside('list', folder, async (fd) => {
      const found: FolderEntry[] = [];
      const dir = await openDirOf(`/proc/self/fd/${fd}`, { encoding: 'buffer' });
      for await (const { name } of dir) {
        if (found.length >= most) {
          throw BlockError.at(pathBelow(this.path, folder), 'limit', `more than ${most} files in a folder`, {
            operation: 'list',
          });
        }
        const bytes = name as unknown as Buffer;
        const stats = await lstatOf(within(fd, bytes), { bigint: true }).catch(nullWhereGone);
        if (stats !== null) found.push(entryOf(decodeName(bytes), stats));
      }
      return found;
    });
  }

  info(path: FolderPath): Promise<FolderEntry> {
    return this.#beside('stat', path, async (at, name) => entryOf(name, await lstatOf(at, { bigint: true })));
  }

  openFile(path: FolderPath): Promise<HostFile> {
    // A pipe that was put there does not make us wait.
    const flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK;
    return this.#beside('open', path, (at) => this.#files.open(at, flags, pathBelow(this.path, path)));
  }

  createFile(path: FolderPath): Promise<HostFile> {
    const flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW;
    return this.#beside('create', path, async (at) => {
      const fd = await openOf(at, flags, 0o600);
      try {
        return await this.#files.adopt(fd, pathBelow(this.path, path));
      } finally {
        await closeOf(fd);
      }
    });
  }

  createFolder(path: FolderPath, isPrivate: boolean): Promise<void> {
    return this.#beside('create', path, (at) => mkdirOf(at, isPrivate ? 0o700 : undefined));
  }

  setPermissions(path: FolderPath, id: string, permissions: number | null): Promise<void> {
    return this.#beside('set permissions', path, async (at) => {
      // Of what is open, not of what may have the name a moment later.
      const fd = await openOf(at, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
      try {
        if (idOf(fstatSync(fd, { bigint: true })) !== id) {
          const where = pathBelow(this.path, path);
          throw BlockError.at(where, 'bad-state', 'another file has its name', { operation: 'set permissions' });
        }
        fchmodSync(fd, permissions ?? permissionsOfNewFile());
      } finally {
        await closeOf(fd);
      }
    });
  }

  rename(from: FolderPath, to: FolderPath): Promise<void> {
    return this.#beside('rename', from, (old) => this.#beside('rename', to, (at) => promisify(rename)(old, at)));
  }

  renameToFree(from: FolderPath, to: FolderPath): Promise<void> {
    return this.#beside('rename', from, (old) => this.#beside('rename', to, (at) => this.#moveToFree(old, at, to)));
  }

  async #moveToFree(old: Buffer, at: Buffer, to: FolderPath): Promise<void> {
    try {
      await promisify(link)(old, at);
    } catch (error) {
      if (!NO_LINKS.has((error as NodeJS.ErrnoException).code)) throw error;
      if ((await lstatOf(at, { bigint: true }).catch(nullWhereGone)) !== null) {
        throw errnoError(osConstants.errno.EEXIST, { operation: 'rename', path: pathBelow(this.path, to) });
      }
      await promisify(rename)(old, at);
      return;
    }
    try {
      await unlinkOf(old);
    } catch (error) {
      await unlinkOf(at).catch(bestEffort('removing the second name of a file'));
      throw error;
    }
  }

  mounts(): Promise<FolderPath[]> {
    return this.#inside('list the mounts of', [], async (fd) => {
      const path = await readlinkOf(`/proc/self/fd/${fd}`, { encoding: 'buffer' });
      return mountsBelow(path, await promisify(readFile)('/proc/self/mountinfo'));
    });
  }

  checkWritable(folder: FolderPath): Promise<void> {
    return this.#inside('write', folder, (fd) => promisify(access)(`/proc/self/fd/${fd}/.`, W_OK | X_OK));
  }

  removeFile(path: FolderPath): Promise<void> {
    return this.#beside('remove', path, (at) => unlinkOf(at));
  }

  removeFolder(path: FolderPath): Promise<void> {
    return this.#beside('remove', path, (at) => (promisify(rmdir) as (at: Buffer) => Promise<void>)(at));
  }

  setTimes(path: FolderPath, atimeMs: number, mtimeMs: number): Promise<void> {
    return this.#beside('set times', path, (at) => promisify(lutimes)(at, atimeMs / 1000, mtimeMs / 1000));
  }

  flush(folder: FolderPath): Promise<void> {
    return this.#inside('flush', folder, (fd) => promisify(fsync)(fd));
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await closeOf(this.#fd);
  }

  /** Calls `action` with the last name of `path`, as a path of the system; of the folder itself, with that. */
  #beside<T>(operation: string, path: FolderPath, action: (at: Buffer, name: string) => Promise<T>): Promise<T> {
    const name = path.at(-1);
    return this.#inside(operation, path.slice(0, -1), (fd) => {
      if (name === undefined) return action(within(fd, Buffer.from('.')), '.');
      checkEntryName(name, this.path);
      return action(within(fd, encodeName(name)), name);
    });
  }

  /** Calls `action` with a descriptor of the folder at `path`. */
  async #inside<T>(operation: string, path: FolderPath, action: (fd: number) => Promise<T>): Promise<T> {
    const where = { operation, path: pathBelow(this.path, path) };
    if (this.#closed) throw BlockError.at(this.path, 'closed', 'the folder is closed', where);
    let fd = this.#fd;
    try {
      for (const name of path) {
        checkEntryName(name, this.path);
        const next = await openOf(within(fd, encodeName(name)), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK);
        // The one before is no longer ours, whether closing it succeeds or not.
        const before = fd;
        fd = next;
        if (before !== this.#fd) await closeOf(before);
      }
      return await action(fd);
    } catch (error) {
      throw nodeError(error, where);
    } finally {
      if (fd !== this.#fd) await closeOf(fd);
    }
  }
}

/** For `.catch`: what has gone since its folder was listed is not there. */
function nullWhereGone(error: unknown): null {
  if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
  throw error;
}

function within(fd: number, name: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`/proc/self/fd/${fd}/`), name]);
}

function entryOf(name: string, stats: BigIntStats): FolderEntry {
  const kind = KINDS[stats.isSymbolicLink() ? 'link' : kindOfMode(stats.mode)] ?? 'other';
  return {
    name,
    kind,
    size: Number(stats.size),
    id: idOf(stats),
    permissions: Number(stats.mode) & (kind === 'folder' ? FOLDER_PERMISSION_BITS : FILE_PERMISSION_BITS),
    mtimeMs: Number(stats.mtimeNs) / 1e6,
    ctimeMs: Number(stats.ctimeNs) / 1e6,
    atimeMs: Number(stats.atimeNs) / 1e6,
  };
}
