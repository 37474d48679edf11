// Reads the file system that a machine has left on the disk. Nothing that it wrote is believed: each chain must be whole, each cluster in one chain, each name one that
// a folder can hold. What is not so makes the file system inconsistent: it may be in the middle of a change.

import type { FolderPath } from '../../../host/host.js';
import { reservedBytesDiffer } from './boot-sector.js';
import { type FoundEntry, readDirectory } from './directory-reader.js';
import {
  byteOfCluster,
  byteOfFat,
  byteOfRoot,
  clusterBytes,
  ENTRY_BYTES,
  FIRST_CLUSTER,
  type Geometry,
  SECTOR_BYTES,
} from './geometry.js';
import { Inconsistent, inconsistent } from './inconsistent.js';
import { MAX_DEPTH, MAX_DIRECTORIES_BYTES, MAX_DIRECTORY_BYTES, PathCount } from './limits.js';
import { FatReader, type Run } from './table.js';
import type { FatTime } from './times.js';

export interface FoundFile {
  path: FolderPath;
  size: number;
  runs: readonly Run[];
  changed: FatTime;
}

export interface FoundFolder {
  path: FolderPath;
  /** Its first one. */
  cluster: number;
}

/** What lies on the disk. */
export interface FoundTree {
  /** Each before those that lie in it; the root is not among them. */
  folders: FoundFolder[];
  files: FoundFile[];
}

export type ReadDisk = (offset: number, buffer: Uint8Array) => Promise<void>;

/** Resolves with what lies on the disk, or with why that cannot be said: a sentence's end. Rejects as `read`. */
export async function readFileSystem(geometry: Geometry, read: ReadDisk): Promise<FoundTree | string> {
  try {
    return await new Reader(geometry, read).read();
  } catch (error) {
    if (error instanceof Inconsistent) return error.message;
    throw error;
  }
}

class Reader {
  readonly #geometry: Geometry;
  readonly #read: ReadDisk;
  #fat!: FatReader;
  readonly #taken: Uint8Array;
  #directoryBytes = 0;
  readonly #paths = new PathCount();
  readonly #tree: FoundTree = { folders: [], files: [] };

  constructor(geometry: Geometry, read: ReadDisk) {
    this.#geometry = geometry;
    this.#read = read;
    this.#taken = new Uint8Array(FIRST_CLUSTER + geometry.clusters);
  }

  async read(): Promise<FoundTree> {
    const { start, reservedSectors } = this.#geometry;
    const reserved = await this.#bytes(0, (start + reservedSectors) * SECTOR_BYTES);
    if (reservedBytesDiffer(this.#geometry, reserved)) inconsistent('the partition or its boot sector is another one');
    await this.#readFat();
    const queue: { path: FolderPath; bytes: Uint8Array }[] = [{ path: [], bytes: await this.#root() }];
    for (const { path, bytes } of queue) {
      for (const entry of readDirectory(bytes, nameOf(path))) {
        const below = [...path, entry.name];
        const tooMuch = this.#paths.add(below);
        if (tooMuch !== null) inconsistent(tooMuch);
        if (entry.isFolder) queue.push({ path: below, bytes: await this.#folder(entry, below) });
        else this.#file(entry, below);
      }
    }
    for (let cluster = FIRST_CLUSTER; cluster < this.#taken.length; cluster++) {
      if (this.#taken[cluster] === 0 && this.#fat.isTaken(cluster)) inconsistent(`cluster ${cluster} is in no file`);
    }
    return this.#tree;
  }

  async #readFat(): Promise<void> {
    const bytes = this.#geometry.fatSectors * SECTOR_BYTES;
    const first = await this.#bytes(byteOfFat(this.#geometry, 0), bytes);
    const second = await this.#bytes(byteOfFat(this.#geometry, 1), bytes);
    if (Buffer.compare(first, second) !== 0) inconsistent('the two file allocation tables differ');
    this.#fat = new FatReader(this.#geometry, first);
  }

  #root(): Promise<Uint8Array> {
    const { rootEntries } = this.#geometry;
    if (rootEntries > 0) return this.#bytes(byteOfRoot(this.#geometry), rootEntries * ENTRY_BYTES);
    return this.#directory(FIRST_CLUSTER, []);
  }

  #folder(entry: FoundEntry, path: FolderPath): Promise<Uint8Array> {
    if (path.length > MAX_DEPTH) inconsistent(`'${nameOf(path)}' lies in more than ${MAX_DEPTH} folders`);
    this.#tree.folders.push({ path, cluster: entry.cluster });
    return this.#directory(entry.cluster, path);
  }

  async #directory(cluster: number, path: FolderPath): Promise<Uint8Array> {
    const runs = this.#chain(cluster, MAX_DIRECTORY_BYTES / clusterBytes(this.#geometry), path);
    const parts: Uint8Array[] = [];
    for (const { first, count } of runs) {
      const bytes = count * clusterBytes(this.#geometry);
      this.#directoryBytes += bytes;
      if (this.#directoryBytes > MAX_DIRECTORIES_BYTES) {
        inconsistent(`the directories take more than ${MAX_DIRECTORIES_BYTES} bytes`);
      }
      parts.push(await this.#bytes(byteOfCluster(this.#geometry, first), bytes));
    }
    return Buffer.concat(parts);
  }

  #file({ cluster, size, changed }: FoundEntry, path: FolderPath): void {
    const clusters = Math.ceil(size / clusterBytes(this.#geometry));
    if (clusters === 0 && cluster !== 0) inconsistent(`'${nameOf(path)}' is empty, and has clusters`);
    const runs = clusters === 0 ? [] : this.#chain(cluster, clusters, path);
    const count = runs.reduce((sum, run) => sum + run.count, 0);
    if (count !== clusters) inconsistent(`'${nameOf(path)}' has ${count} clusters for ${size} bytes`);
    this.#tree.files.push({ path, size, runs, changed });
  }

  /** The chain that begins with this cluster, of `most` clusters at most. */
  #chain(start: number, most: number, path: FolderPath): Run[] {
    const runs: Run[] = [];
    let count = 0;
    for (let cluster: number | null = start; cluster !== null; cluster = this.#fat.next(cluster)) {
      if (!(cluster >= FIRST_CLUSTER && cluster < this.#taken.length)) {
        inconsistent(`'${nameOf(path)}' goes on at cluster ${cluster}, which there is not`);
      }
      if (this.#taken[cluster] !== 0) inconsistent(`'${nameOf(path)}' has cluster ${cluster}, which is another file's`);
      this.#taken[cluster] = 1;
      if (++count > most) inconsistent(`'${nameOf(path)}' has too many clusters`);
      const last = runs.at(-1);
      if (last !== undefined && last.first + last.count === cluster) last.count++;
      else runs.push({ first: cluster, count: 1 });
    }
    return runs;
  }

  async #bytes(offset: number, length: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(length);
    await this.#read(offset, bytes);
    return bytes;
  }
}

function nameOf(path: FolderPath): string {
  return `/${path.join('/')}`;
}
