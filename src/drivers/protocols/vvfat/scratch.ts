// What a machine has written to the disk, sector by sector, in a file of the folder that has lost its name at once: nobody else can open it, and its space is freed when
// this process ends, however that is. It grows to the size of the disk at most.

import type { HostFile, HostFolder } from '../../../host/host.js';
import { bestEffort } from '../../../util/best-effort.js';
import { BitTree } from '../../../util/bit-tree.js';
import { SECTOR_BYTES } from './geometry.js';
import { createTemporary } from './temporary.js';

/** Bytes of the marks of all sectors: a disk of 504 MiB needs 160 KiB. */
const MARKS_LIMIT = 1 << 20;

export class Scratch {
  readonly #file: HostFile;
  /** Sectors that are here. */
  readonly #held: BitTree;
  /** Of them, those that were written since the folder was brought up to date. */
  readonly #fresh: BitTree;

  private constructor(file: HostFile, sectors: number) {
    this.#file = file;
    this.#held = new BitTree(sectors, MARKS_LIMIT);
    this.#fresh = new BitTree(sectors, MARKS_LIMIT);
  }

  /** Rejects with `permission`, `no-space`, ... where nothing can be made in the folder. */
  static async open(folder: HostFolder, random: () => number, sectors: number): Promise<Scratch> {
    const { path, file } = await createTemporary(folder, [], random);
    try {
      await folder.removeFile(path);
      return new Scratch(file, sectors);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  get hasFresh(): boolean {
    return this.#fresh.count > 0;
  }

  /** Whether one of the sectors of [start, end), bytes of the disk, was written since then. */
  isFresh(start: number, end: number): boolean {
    const found = this.#fresh.find(start / SECTOR_BYTES, true);
    return found >= 0 && found * SECTOR_BYTES < end;
  }

  /** The folder is up to date. */
  settle(): void {
    this.#fresh.clear();
  }

  /** Whether the sector with this byte is here, and the end of those behind it of which the same holds, `limit` at most. */
  runAt(offset: number, limit: number): { held: boolean; end: number } {
    const sector = Math.floor(offset / SECTOR_BYTES);
    const held = this.#held.get(sector);
    const other = this.#held.find(sector, !held);
    return { held, end: other < 0 ? limit : Math.min(other * SECTOR_BYTES, limit) };
  }

  read(offset: number, buffer: Uint8Array): Promise<void> {
    return this.#file.read(offset, buffer);
  }

  /** Whole sectors that a machine writes. */
  async write(offset: number, buffer: Uint8Array): Promise<void> {
    // Before: what fails may have changed sectors that are here already.
    this.#fresh.fill(offset / SECTOR_BYTES, (offset + buffer.length) / SECTOR_BYTES, true);
    await this.keep(offset, buffer);
  }

  /** Whole sectors whose content must not change, though what they came from does. */
  async keep(offset: number, buffer: Uint8Array): Promise<void> {
    await this.#file.write(offset, buffer);
    this.#held.fill(offset / SECTOR_BYTES, (offset + buffer.length) / SECTOR_BYTES, true);
  }

  /** Frees the space of whole sectors that nobody will read any more, where the file system can do that. */
  async drop(offset: number, length: number): Promise<void> {
    await this.#file.punchHole(offset, length).catch(bestEffort('freeing space of what a machine has written'));
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}
