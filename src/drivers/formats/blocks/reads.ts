// A disk in blocks, as it is read (requests.ts): what lies where, what is read there, and its status. An image of a format that is only read needs no more.

import type { BlockStatus, Located } from '../../../block/types.js';
import { later, settleAll } from '../../../util/settle.js';
import { type BlockDisk, type BlockTables, COMPRESSED, HOLE, holeRun, readBelow, ZERO } from './places.js';

/** Of `BlockDisk`. */
export interface ReadDisk
  extends Pick<
    BlockDisk,
    'blockBytes' | 'file' | 'below' | 'coding' | 'compressed' | 'holesAreAllocated' | 'looksIntoFile'
  > {
  readonly tables: Pick<BlockTables, 'place' | 'load'>;
}

/** One run of a request, within blocks that lie one behind the other. */
export interface Run {
  place: number;
  length: number;
}

export class BlockReads<D extends ReadDisk = ReadDisk> {
  protected readonly disk: D;

  constructor(disk: D) {
    this.disk = disk;
  }

  /** The run at `offset`, of `length` bytes at most; null where a table is to be read first. Throws `corrupt-image`. */
  protected runAt(offset: number, length: number): Run | null {
    const { blockBytes, tables } = this.disk;
    const first = Math.floor(offset / blockBytes);
    const place = tables.place(first);
    if (place === undefined) return null;
    const within = offset - first * blockBytes;
    let end = blockBytes - within;
    for (let index = first + 1; end < length; index++) {
      if (tables.place(index) !== follower(place, index - first, blockBytes)) break;
      end += blockBytes;
    }
    return { place: place < 0 ? place : place + within, length: Math.min(end, length) };
  }

  protected async loadedRun(offset: number, length: number): Promise<Run> {
    for (;;) {
      const run = this.runAt(offset, length);
      if (run !== null) return run;
      await this.disk.tables.load(Math.floor(offset / this.disk.blockBytes));
    }
  }

  /** `BlockNode.locate`: nothing is made here, as it is asked for each request. */
  locate(offset: number, length: number, write: boolean, into: Located): boolean {
    const { blockBytes, tables, file, coding } = this.disk;
    const first = Math.floor(offset / blockBytes);
    const place = tables.place(first);
    if (place === undefined || place === COMPRESSED) return false;
    const last = Math.floor((offset + length - 1) / blockBytes);
    for (let index = first + 1; index <= last; index++) {
      if (tables.place(index) !== follower(place, index - first, blockBytes)) return false;
    }
    if (place >= 0) {
      return coding === undefined && file.link.locate(place + offset - first * blockBytes, length, write, into);
    }
    if (write || (place === HOLE && this.disk.below !== null)) return false;
    into.file = null;
    into.guard = null;
    return true;
  }

  async read(offset: number, buffer: Uint8Array): Promise<void> {
    const parts: Promise<void>[] = [];
    let failure: { error: unknown } | null = null;
    try {
      for (let done = 0; done < buffer.length; ) {
        const at = offset + done;
        const run = this.runAt(at, buffer.length - done) ?? (await this.loadedRun(at, buffer.length - done));
        const target = buffer.subarray(done, done + run.length);
        if (run.place >= 0) parts.push(later(this.#readPlace(run.place, at, target)));
        else if (run.place === COMPRESSED) {
          const reading = this.disk.compressed!.read(at, target);
          if (reading === null) continue;
          parts.push(later(reading));
        } else if (run.place === HOLE) parts.push(later(this.belowHole(at, target)));
        else target.fill(0);
        done += run.length;
      }
    } catch (error) {
      failure = { error };
    }
    await settleAll(parts, failure);
  }

  #readPlace(place: number, offset: number, buffer: Uint8Array): Promise<void> {
    const { coding, file } = this.disk;
    return coding === undefined ? file.read(place, buffer, 'read_aio') : coding.read(place, offset, buffer);
  }

  protected belowHole(offset: number, buffer: Uint8Array): Promise<void> {
    return readBelow(this.disk.file, this.disk.below, offset, buffer);
  }

  /**
   * The run that a status tells of, which begins with `first`. The place of encrypted blocks is not told, so that all that follow each other on the disk are one run, wherever
   * they lie in the file: as far as the tables that are in memory say.
   */
  #statusRun(first: Run, offset: number, length: number): Run {
    if (first.place < 0 || this.disk.coding === undefined) return first;
    const run = { ...first };
    while (run.length < length) {
      const next = this.runAt(offset + run.length, length - run.length);
      if (next === null || next.place < 0) break;
      run.length += next.length;
    }
    return run;
  }

  /** `BlockNode.blockStatusSync`. */
  statusSync(offset: number, length: number): BlockStatus | null {
    const run = this.runAt(offset, length);
    if (run === null || (run.place >= 0 && this.disk.looksIntoFile)) return null;
    return this.#statusOf(this.#statusRun(run, offset, length), offset);
  }

  async status(offset: number, length: number): Promise<BlockStatus> {
    const run = this.#statusRun(await this.loadedRun(offset, length), offset, length);
    const status = this.#statusOf(run, offset);
    if (status.offset < 0 || !this.disk.looksIntoFile) return status;
    const { node } = this.disk.file.link;
    if (status.offset >= node.length) return { ...status, zero: true };
    const below = await node.blockStatus(status.offset, Math.min(status.length, node.length - status.offset));
    return { ...status, length: below.length, zero: below.zero };
  }

  #statusOf({ place, length }: Run, at: number): BlockStatus {
    const none = { length, compressed: false, offset: -1, node: null };
    if (place === COMPRESSED) return { ...none, allocated: true, data: true, zero: false, compressed: true };
    if (place >= 0) {
      const data = { ...none, allocated: true, data: true, zero: false };
      return this.disk.coding === undefined ? { ...data, offset: place, node: this.disk.file.link.node } : data;
    }
    if (place === ZERO) return { ...none, allocated: true, data: false, zero: true };
    const { below, holesAreAllocated } = this.disk;
    return { ...none, allocated: below === null && holesAreAllocated, data: false, ...holeRun(below, at, length) };
  }
}

/** What the place of the block `count` after one at `place` is, where both belong to one run. */
function follower(place: number, count: number, blockBytes: number): number {
  return place < 0 ? place : place + count * blockBytes;
}
