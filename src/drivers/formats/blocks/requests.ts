// A disk in blocks of one size, each of which the tables of its format place in the file: the requests of all such formats.
//
//   disk    | 0     | 1     | 2     | 3     | ...          place of a block: an offset in the file, HOLE, ZERO, COMPRESSED
//               \       .       |
//   file    | header | table | 2     | 0     |              new blocks go to the end
//
// A hole reads as the backing node does, or as zeroes; so it becomes a block when it is written to: the block is filled (with what lies below, where not all of it is written), and
// then its place is set, which is durable with the next commit (commits.ts). A block never moves, and never becomes a hole, while the image is open: what is located
// stays so. What is discarded, and what becomes zeroes, keeps its block, whose space in the file is given back. A compressed block has no such place, and gets one when it is
// written to.

import type { Extent, MovePlace, ZeroFlags } from '../../../block/types.js';
import { assert } from '../../../util/assert.js';
import { RangeLock } from '../../../util/range-lock.js';
import { later, settleAll } from '../../../util/settle.js';
import { prepareBlocks } from './move.js';
import { type BlockDisk, COMPRESSED, HOLE, MAX_CHANGED_BYTES, takeAll, ZERO } from './places.js';
import { BlockReads } from './reads.js';
import type { NewBlock } from './space.js';

/** What is written to the file at once. */
interface Piece {
  offset: number;
  /** Of the disk. */
  at: number;
  bytes: Uint8Array;
}

/** A larger block that is written in part is not made up in memory: what it reads as beside that is put in its place in steps of so many bytes. */
const STEP_BYTES = 2 << 20;

export class BlockRequests extends BlockReads<BlockDisk> {
  readonly #locks = new RangeLock();

  #writePlace(place: number, offset: number, buffer: Uint8Array): Promise<void> {
    const { coding, file } = this.disk;
    return coding === undefined ? file.write(place, buffer, 'write_aio') : coding.write(place, offset, buffer);
  }

  async write(offset: number, buffer: Uint8Array): Promise<void> {
    const { blockBytes } = this.disk;
    const parts: Promise<void>[] = [];
    let failure: { error: unknown } | null = null;
    try {
      for (let done = 0; done < buffer.length; ) {
        const at = offset + done;
        const run = await this.loadedRun(at, buffer.length - done);
        // Blocks without a place, up to one that has one: together, since their places are neighbours.
        let { length } = run;
        if (run.place < 0) {
          while (done + length < buffer.length) {
            const next = this.runAt(at + length, buffer.length - done - length);
            if (next === null || next.place >= 0) break;
            length += next.length;
          }
        }
        const source = buffer.subarray(done, done + length);
        const grown = run.place < 0 ? null : this.#reach(run.place + length);
        if (grown !== null) await grown;
        if (run.place >= 0) parts.push(later(this.#writePlace(run.place, at, source)));
        else parts.push(later(this.#writeNew(at, source, Math.floor(at / blockBytes))));
        done += length;
      }
    } catch (error) {
      failure = { error };
    }
    await settleAll(parts, failure);
    await this.#boundChanges();
  }

  async #boundChanges(): Promise<void> {
    if (this.disk.tables.changedBytes > MAX_CHANGED_BYTES) await this.disk.commit();
  }

  /**
   * Runs `action` while nobody else gives blocks from `first` to `last` a place; their tables are ready for `set`. Rejects as `BlockTables.prepare` and as `action`.
   */
  async withBlocks(first: number, last: number, action: () => Promise<void>): Promise<void> {
    await this.#locks.with(first, last + 1, async () => {
      const release = await this.disk.tables.prepare(first, last);
      try {
        await action();
      } finally {
        release();
      }
    });
    await this.#boundChanges();
  }

  /** The file has all bytes up to `end`: somebody may have cut it before the end of a block. Null: it has them already. Rejects as `ensureLength`. */
  #reach(end: number): Promise<void> | null {
    const { file } = this.disk;
    return end <= file.length ? null : file.ensureLength(end);
  }

  /** Writes to blocks from `first` on that had no place when they were looked at. */
  async #writeNew(offset: number, source: Uint8Array, first: number): Promise<void> {
    const { blockBytes, tables, space } = this.disk;
    const last = Math.floor((offset + source.length - 1) / blockBytes);
    const held = await this.#locks.acquire(first, last + 1);
    const made: { index: number; block: NewBlock }[] = [];
    const filled: Uint8Array[] = [];
    let release: (() => void) | null = null;
    try {
      release = await tables.prepare(first, last);
      // Somebody else may have come before.
      const news: number[] = [];
      for (let index = first; index <= last; index++) if (tables.place(index)! < 0) news.push(index);
      const blocks = await takeAll(space, news.length);
      made.push(...news.map((index, i) => ({ index, block: blocks[i] })));
      const pieces: Piece[] = [];
      let next = 0;
      for (let index = first; index <= last; index++) {
        const start = Math.max(offset, index * blockBytes);
        const end = Math.min(offset + source.length, (index + 1) * blockBytes);
        const bytes = source.subarray(start - offset, end - offset);
        const within = start - index * blockBytes;
        const place = tables.place(index)!;
        if (place >= 0) {
          addPiece(pieces, { offset: place + within, at: start, bytes });
          continue;
        }
        const block = blocks[next++];
        const whole = await this.#wholeBlock(index, within, bytes, block, place);
        if (whole !== null) filled.push(whole);
        addPiece(
          pieces,
          whole === null
            ? { offset: block.offset + within, at: start, bytes }
            : { offset: block.offset, at: index * blockBytes, bytes: whole },
        );
      }
      await settleAll(pieces.map((piece) => later(this.#writePlace(piece.offset, piece.at, piece.bytes))));
      for (const { index, block } of made.splice(0)) tables.set(index, block.offset);
    } finally {
      // Something of them may have been written.
      for (const { block } of made.reverse()) space.giveBack({ ...block, fresh: false });
      for (const bytes of filled) this.disk.memory.free(bytes);
      release?.();
      this.#locks.release(held);
    }
  }

  /**
   * All of a new block, `bytes` at `within` of it, the rest what the block reads as now; null where the place reads so already, but for `bytes`, or does now. The caller frees it.
   * `place`: what the block's place was until now.
   */
  async #wholeBlock(
    index: number,
    within: number,
    bytes: Uint8Array,
    block: NewBlock,
    place: number,
  ): Promise<Uint8Array | null> {
    const { blockBytes, length, below: backing, memory, coding, compressed } = this.disk;
    const start = index * blockBytes;
    const end = Math.min(start + blockBytes, length);
    if (bytes.length === blockBytes) return null;
    const below = place !== HOLE || backing === null ? 0 : Math.max(0, Math.min(end, backing.length) - start);
    // Zeroes at an encrypted place are no zeroes of the disk.
    if (place !== COMPRESSED && below === 0 && block.fresh && coding === undefined) return null;
    if (blockBytes > STEP_BYTES && place !== COMPRESSED && coding === undefined) {
      await this.#fill(start, 0, within, below, block);
      await this.#fill(start, within + bytes.length, blockBytes, below, block);
      return null;
    }
    const whole = memory.allocate(blockBytes);
    try {
      const tail = within + bytes.length;
      whole.fill(0);
      // Its table is in memory, and nobody else gives it a place meanwhile.
      if (place === COMPRESSED) {
        const reading = compressed!.read(start, whole.subarray(0, end - start));
        assert(reading !== null, 'the table of a block that is written is in memory');
        await reading;
      }
      const reads: Promise<void>[] = [];
      if (below > 0 && within > 0) reads.push(later(this.belowHole(start, whole.subarray(0, Math.min(within, below)))));
      if (below > tail) reads.push(later(this.belowHole(start + tail, whole.subarray(tail, below))));
      await settleAll(reads);
      whole.set(bytes, within);
      return whole;
    } catch (error) {
      memory.free(whole);
      throw error;
    }
  }

  /** Puts what a hole reads as in the place of a new block, from `from` to `to` of it: up to `below` what lies below the disk at `start`, then zeroes, which are not written where they are there already. */
  async #fill(start: number, from: number, to: number, below: number, { offset, fresh }: NewBlock): Promise<void> {
    const { memory, file } = this.disk;
    const copied = Math.max(from, Math.min(to, below));
    if (copied < to && !fresh) await file.writeZeroes(offset + copied, to - copied);
    if (copied === from) return;
    const buffer = memory.allocate(Math.min(STEP_BYTES, copied - from));
    try {
      for (let at = from; at < copied; at += buffer.length) {
        const part = buffer.subarray(0, copied - at);
        await this.belowHole(start + at, part);
        await file.write(offset + at, part, 'write_aio');
      }
    } finally {
      memory.free(buffer);
    }
  }

  /** What the host's copy step writes goes to its places at once. See `move.ts`. */
  async prepareMove(extents: readonly Extent[], granule: number): Promise<MovePlace | null> {
    if (this.disk.coding !== undefined) return null;
    await this.#boundChanges();
    return prepareBlocks(this.disk, this.#locks, extents, granule);
  }

  async writeZeroes(offset: number, length: number, flags: ZeroFlags): Promise<void> {
    const end = offset + length;
    for (let at = offset; at < end; ) {
      const run = await this.loadedRun(at, end - at);
      const stop = at + run.length;
      if (run.place === COMPRESSED || (run.place >= 0 && this.disk.coding !== undefined)) {
        await this.disk.writeData(at, run.length, flags);
      } else if (run.place >= 0) {
        await this.#reach(run.place + run.length);
        await this.disk.file.link.writeZeroes(run.place, run.length, {
          mayUnmap: flags.mayUnmap,
          noFallback: flags.noFallback,
        });
      } else if (run.place === HOLE && this.disk.below !== null && at < this.disk.below.length) {
        await this.#zeroHoles(at, run.length, flags);
      }
      at = stop;
    }
  }

  /** Of holes over a backing node: whole blocks become ZERO where the format has that; everything else is written. */
  async #zeroHoles(offset: number, length: number, flags: ZeroFlags): Promise<void> {
    const disk = this.disk;
    const { blockBytes, tables, file } = disk;
    const first = Math.ceil(offset / blockBytes);
    const end =
      offset + length === disk.length
        ? Math.ceil(disk.length / blockBytes)
        : Math.floor((offset + length) / blockBytes);
    if (!disk.hasZeroBlocks || first >= end) return disk.writeData(offset, length, flags);
    const head = first * blockBytes - offset;
    const tail = offset + length - end * blockBytes;
    if (head > 0) await disk.writeData(offset, head, flags);
    await this.#locks.with(first, end, async () => {
      const release = await tables.prepare(first, end - 1);
      try {
        for (let index = first; index < end; index++) {
          const place = tables.place(index)!;
          if (place === HOLE) tables.set(index, ZERO);
          else if (place >= 0) {
            const bytes = Math.min(blockBytes, disk.length - index * blockBytes);
            await file.writeZeroes(place, bytes, flags.mayUnmap);
          }
        }
      } finally {
        release();
      }
    });
    if (tail > 0) await disk.writeData(end * blockBytes, tail, flags);
  }

  async discard(offset: number, length: number): Promise<void> {
    // What would be read there then is nothing that anybody has written.
    if (this.disk.coding !== undefined) return;
    const end = offset + length;
    for (let at = offset; at < end; ) {
      const run = await this.loadedRun(at, end - at);
      if (run.place >= 0) await this.disk.file.discard(run.place, run.length);
      at += run.length;
    }
  }
}

/** Adds a piece; one that follows the last in the file and in memory is one with it. */
function addPiece(pieces: Piece[], piece: Piece): void {
  const last = pieces.at(-1);
  if (
    last !== undefined &&
    last.offset + last.bytes.length === piece.offset &&
    last.bytes.buffer === piece.bytes.buffer &&
    last.bytes.byteOffset + last.bytes.length === piece.bytes.byteOffset
  ) {
    last.bytes = new Uint8Array(last.bytes.buffer, last.bytes.byteOffset, last.bytes.length + piece.bytes.length);
    return;
  }
  pieces.push(piece);
}
