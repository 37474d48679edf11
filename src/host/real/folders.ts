// Folders of the operating system. Node has no openat(2): /proc/self/fd/N/NAME is NAME in the folder that N has open, and O_NOFOLLOW keeps a link with
// that name from being followed. A path is walked in such steps, each from the folder that the step before has opened.

import type { BigIntStats, Dir } from 'node:fs';
import {
  close,
  constants,
  fchmodSync,
  fsync,
  lstat,
  lutimes,
  mkdir,
  open,
  opendir,
  rename,
  rmdir,
  unlink,
} from 'node:fs';
import { promisify } from 'node:util';
import { BlockError } from '../../util/errors.js';
import { decodeName, encodeName } from '../../util/name-bytes.js';
import { nodeError } from '../errno.js';
import { checkEntryName, pathBelow } from '../folder.js';
import type { FolderEntry, FolderPath, Folders, HostFile, HostFolder } from '../host.js';
import { idOf, kindOfMode } from './info.js';

const { O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_RDWR } = constants;
const PERMISSION_BITS = 0o7777n;

// `promisify` is used because node:fs/promises takes 3 ms to load.
const openOf = promisify(open) as (path: Buffer, flags: number) => Promise<number>;
const closeOf = promisify(close);
const openDirOf = promisify(opendir) as unknown as (path: string, options: { encoding: 'buffer' }) => Promise<Dir>;
const lstatOf = promisify(lstat) as (path: Buffer, options: { bigint: true }) => Promise<BigIntStats>;

const KINDS: Readonly<Record<string, FolderEntry['kind']>> = { file: 'file', directory: 'folder', link: 'link' };

/** Opens the file at the first path, with these flags; messages call it by the second. `opened` is called with its descriptor. */
export type OpenInFolder = (
  at: Buffer,
  flags: number,
  path: string,
  opened?: (fd: number) => void,
) => Promise<HostFile>;

export class RealFolders implements Folders {
  readonly #openFile: OpenInFolder;

  constructor(openFile: OpenInFolder) {
    this.#openFile = openFile;
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
    return new RealFolder(path, fd, this.#openFile);
  }
}

class RealFolder implements HostFolder {
  readonly path: string;
  readonly #fd: number;
  readonly #openFile: OpenInFolder;
  #closed = false;

  constructor(path: string, fd: number, openFile: OpenInFolder) {
    this.path = path;
    this.#fd = fd;
    this.#openFile = openFile;
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
        found.push(entryOf(decodeName(bytes), await lstatOf(within(fd, bytes), { bigint: true })));
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
    return this.#beside('open', path, (at) => this.#openFile(at, flags, pathBelow(this.path, path)));
  }

  createFile(path: FolderPath, permissions: number | null): Promise<HostFile> {
    const flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW;
    const allow = permissions === null ? undefined : (fd: number) => fchmodSync(fd, permissions);
    return this.#beside('create', path, (at) => this.#openFile(at, flags, pathBelow(this.path, path), allow));
  }

  createFolder(path: FolderPath): Promise<void> {
    return this.#beside('create', path, (at) => (promisify(mkdir) as (at: Buffer) => Promise<void>)(at));
  }

  rename(from: FolderPath, to: FolderPath): Promise<void> {
    return this.#beside('rename', from, (old) => this.#beside('rename', to, (at) => promisify(rename)(old, at)));
  }

  removeFile(path: FolderPath): Promise<void> {
    return this.#beside('remove', path, (at) => promisify(unlink)(at));
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
    const leave = () => (fd === this.#fd ? Promise.resolve() : closeOf(fd));
    try {
      for (const name of path) {
        checkEntryName(name, this.path);
        const next = await openOf(within(fd, encodeName(name)), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK);
        await leave();
        fd = next;
      }
      return await action(fd);
    } catch (error) {
      throw nodeError(error, where);
    } finally {
      await leave();
    }
  }
}

function within(fd: number, name: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`/proc/self/fd/${fd}/`), name]);
}

function entryOf(name: string, stats: BigIntStats): FolderEntry {
  return {
    name,
    kind: KINDS[stats.isSymbolicLink() ? 'link' : kindOfMode(stats.mode)] ?? 'other',
    size: Number(stats.size),
    id: idOf(stats),
    permissions: Number(stats.mode & PERMISSION_BITS),
    mtimeMs: Number(stats.mtimeNs) / 1e6,
    ctimeMs: Number(stats.ctimeNs) / 1e6,
    atimeMs: Number(stats.atimeNs) / 1e6,
  };
}
