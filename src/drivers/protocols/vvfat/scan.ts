// Looks through a folder and gives each file and each directory its clusters, in QEMU's order: those of one directory first, then those of the directories in it.
//
// What a FAT disk does not have is refused by name: links (they may lead out of the folder), pipes, sockets and devices, names that are not UTF-8.

import { pathBelow } from '../../../host/folder.js';
import type { FolderEntry, FolderPath, HostFolder } from '../../../host/host.js';
import { BlockError, toBlockError } from '../../../util/errors.js';
import { hasRawBytes } from '../../../util/name-bytes.js';
import { wordsOfErrno } from '../../../util/system-words.js';
import { clusterBytes, ENTRY_BYTES, type Geometry } from './geometry.js';
import { MAX_DEPTH, MAX_DIRECTORIES_BYTES, MAX_DIRECTORY_BYTES, MAX_DIRECTORY_ENTRIES, PathCount } from './limits.js';
import { longNameEntries, ShortNames, unicodeUpper } from './names.js';
import { FreeClusters, type Run } from './table.js';
import { isKeptImage, isLeftContent } from './temporary.js';

export interface ScannedFile {
  path: FolderPath;
  entry: FolderEntry;
  shortName: string;
  /** Null: it is empty. */
  run: Run | null;
}

export interface ScannedFolder {
  path: FolderPath;
  entry: FolderEntry;
  /** As other folders know it; of the root, empty. */
  shortName: string;
  /** Null: the root of FAT12 and FAT16, which lies in no cluster. */
  run: Run | null;
  parent: ScannedFolder | null;
  /** In the order of its entries. */
  children: (ScannedFile | ScannedFolder)[];
}

export interface Scan {
  root: ScannedFolder;
  /** All, each before those that lie in it. */
  folders: ScannedFolder[];
  /** Those that have clusters, in the order of these. */
  files: ScannedFile[];
  /** Clusters that are taken. */
  used: number;
  /** What a disk of this folder has left that ended before it was up to date. */
  left: FolderPath[];
}

/** `rw`: the disk is to be written to. Rejects with `bad-state` where an image is left in it that could not be brought to it, `limit` where it does not fit, `unsupported` for what no such disk has, and as the folder's `entries`. */
export async function scanFolder(folder: HostFolder, geometry: Geometry, rw: boolean): Promise<Scan> {
  return new Scanner(folder, geometry, rw).scan();
}

class Scanner {
  readonly #folder: HostFolder;
  readonly #geometry: Geometry;
  readonly #rw: boolean;
  readonly #free: FreeClusters;
  readonly #paths = new PathCount();
  readonly #folders: ScannedFolder[] = [];
  readonly #files: ScannedFile[] = [];
  readonly #left: FolderPath[] = [];
  #directoryBytes = 0;

  constructor(folder: HostFolder, geometry: Geometry, rw: boolean) {
    this.#folder = folder;
    this.#geometry = geometry;
    this.#rw = rw;
    this.#free = new FreeClusters(geometry);
  }

  async scan(): Promise<Scan> {
    const entry = await this.#folder.info([]);
    const root: ScannedFolder = { path: [], entry, shortName: '', run: null, parent: null, children: [] };
    await this.#readFolder(root, []);
    // Those that are found meanwhile are appended: a directory's own content comes before that of the directories in it.
    const queue = [...root.children];
    for (let at = 0; at < queue.length; at++) {
      const child = queue[at];
      if (!isFolder(child)) this.#placeFile(child);
      else await this.#readFolder(child, queue);
    }
    return { root, folders: this.#folders, files: this.#files, used: this.#free.used, left: this.#left };
  }

  async #readFolder(folder: ScannedFolder, queue: (ScannedFile | ScannedFolder)[]): Promise<void> {
    const { path } = folder;
    if (path.length > MAX_DEPTH) throw this.#refusal(path, 'limit', `it lies in more than ${MAX_DEPTH} folders`);
    const names = new ShortNames();
    const folded = new Map<string, string>();
    // The label of the root; `.` and `..` of another folder.
    let entries = path.length === 0 ? 1 : 2;
    for (const entry of await this.#entriesOf(path, MAX_DIRECTORY_ENTRIES)) {
      const below = [...path, entry.name];
      this.#refuseOthers(entry, below);
      if (isLeftContent(entry.name)) this.#left.push(below);
      if (this.#rw) this.#refuseSameName(folded, below);
      const tooMuch = this.#paths.add(below);
      if (tooMuch !== null) throw this.#refusal(path, 'limit', tooMuch);
      entries += longNameEntries(entry.name) + 1;
      const shortName = names.take(entry.name);
      if (shortName === null) throw this.#refusal(path, 'limit', 'too many files with similar names');
      const child = { path: below, entry, shortName, run: null };
      folder.children.push(entry.kind === 'folder' ? { ...child, parent: folder, children: [] } : child);
    }
    this.#placeFolder(folder, entries);
    for (const child of folder.children) queue.push(child);
  }

  async #entriesOf(path: FolderPath, most: number): Promise<FolderEntry[]> {
    try {
      return await this.#folder.entries(path, most);
    } catch (cause) {
      const { code, errno, message } = toBlockError(cause);
      throw this.#refusal(path, code, (errno !== undefined && wordsOfErrno(errno)) || message, cause);
    }
  }

  #placeFolder(folder: ScannedFolder, entries: number): void {
    const bytes = entries * ENTRY_BYTES;
    const { rootEntries } = this.#geometry;
    const inFixedRoot = folder.parent === null && rootEntries > 0;
    if (inFixedRoot && entries > rootEntries) {
      const text = `too many entries in root directory: its names take ${entries}, and it has room for ${rootEntries}`;
      throw this.#refusal([], 'limit', text);
    }
    if (bytes > MAX_DIRECTORY_BYTES) throw this.#refusal(folder.path, 'limit', 'too many files for a FAT directory');
    this.#directoryBytes += bytes;
    if (this.#directoryBytes > MAX_DIRECTORIES_BYTES) {
      throw this.#refusal(folder.path, 'limit', `the directories take more than ${MAX_DIRECTORIES_BYTES} bytes`);
    }
    if (!inFixedRoot) folder.run = this.#take(bytes);
    this.#folders.push(folder);
  }

  #placeFile(file: ScannedFile): void {
    if (file.entry.size === 0) return;
    file.run = this.#take(file.entry.size);
    this.#files.push(file);
  }

  #take(bytes: number): Run {
    const run = this.#free.take(Math.ceil(bytes / clusterBytes(this.#geometry)));
    if (run !== null) return run;
    const { fatType, sectors } = this.#geometry;
    const text = `Directory does not fit in FAT${fatType} (capacity ${(sectors / 2000).toFixed(2)} MB)`;
    throw new BlockError('limit', text, { path: this.#folder.path, operation: 'open' });
  }

  #refuseOthers({ kind, name }: FolderEntry, path: FolderPath): void {
    const refuse = (why: string): never => {
      const where = pathBelow(this.#folder.path, path);
      throw new BlockError('unsupported', `'${where}' has no place on a FAT disk: ${why}`, {
        path: where,
        operation: 'open',
      });
    };
    if (kind === 'link') refuse('it is a symbolic link, which may lead out of the folder');
    if (kind === 'other') refuse('it is neither a file nor a folder');
    if (hasRawBytes(name)) refuse('its name is not UTF-8');
    if (kind === 'file' && isKeptImage(name)) this.#refuseKeptImage(path);
  }

  /** It is as large as the disk, and whoever has lost what is in it is to learn of it. */
  #refuseKeptImage(path: FolderPath): never {
    const where = pathBelow(this.#folder.path, path);
    const text = `'${where}' is a disk of this folder that could not be brought to it: take out what you need, and move the image away`;
    throw new BlockError('bad-state', text, { path: where, operation: 'open' });
  }

  /** One name to most systems: a machine that changes the one file may change the other one. */
  #refuseSameName(folded: Map<string, string>, path: FolderPath): void {
    const name = path[path.length - 1];
    const other = folded.get(unicodeUpper(name));
    folded.set(unicodeUpper(name), name);
    if (other === undefined) return;
    const where = pathBelow(this.#folder.path, path);
    const text = `'${where}' and '${other}' beside it differ in the case of letters only, which 'rw' cannot take`;
    throw new BlockError('unsupported', text, { path: where, operation: 'open' });
  }

  #refusal(path: FolderPath, code: BlockError['code'], why: string, cause?: unknown): BlockError {
    const where = pathBelow(this.#folder.path, path);
    return new BlockError(code, `Could not read directory ${where}: ${why}`, {
      path: where,
      operation: 'open',
      cause,
    });
  }
}

export function isFolder(one: ScannedFile | ScannedFolder): one is ScannedFolder {
  return 'children' in one;
}
