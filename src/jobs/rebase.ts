// Makes an overlay independent of what its backing files have and a new backing file does not: the copy of a rebase, before the header changes.
//
//   overlay   |AAAA|----|----|0000|----|----|      held by the overlay itself: stays
//   old chain      |BBBB|CCCC|    |DDDD|0000|
//   new chain      |BBBB|XXXX|    |0000|XXXX|      equal: stays
//   written             |CCCC|    |DDDD|0000|
//
// The overlay still has its old backing file meanwhile, and what is written is what it reads as there: broken off anywhere, it reads as before.

import { chainStatus } from '../block/chain.js';
import type { Child } from '../block/child.js';
import type { BlockNode } from '../block/node/node.js';
import type { Extent, WriteFlags } from '../block/types.js';
import type { Memory } from '../host/host.js';
import { toBlockError } from '../util/errors.js';
import { roundDown, roundUp, SECTOR_BYTES } from '../util/numbers.js';
import {
  CHUNK_BYTES,
  type CopyContext,
  type CopyFault,
  freeContext,
  MAX_EXTENTS,
  MAX_PIECE_BYTES,
  runCopy,
  type WriteOrder,
} from './copy-engine.js';
import { type Chunk, Chunker, type Classify, Plan } from './copy-plan.js';
import { equalMap } from './transfer.js';
import { splitZeroes, zeroExtents } from './zero-map.js';

export interface FillOptions {
  /** To the overlay, for reading and for writing what it reads anyway. */
  overlay: Child;
  /** To the node that will be its backing node, for reading; null: it will have none. */
  backing: Child | null;
  /** The node below the overlay that is the same image as `backing`, over the same chain: what it has need not be looked at. Null: there is none. */
  same: BlockNode | null;
  /** What is written is compressed. */
  compress?: boolean;
  /** Each write is durable when it is answered. Default: all is flushed at the end. */
  fua?: boolean;
  signal?: AbortSignal;
  /** Is called with the error that ends the copy, before `fillDifferences` rejects with it. */
  onFault?: (fault: CopyFault) => void;
  /** Bytes of the disk that are done, all of them, and how many of the first were looked at; the others were passed over. */
  onProgress?: (current: number, total: number, moved: number) => void;
}

/** What the overlay does not hold itself. What nobody holds counts as zeroes, which the new backing file need not have. */
const fromBelow: Classify = ({ depth, allocated, zero }) => {
  if (depth < 0 || (depth === 0 && allocated)) return 'skip';
  return zero ? 'zero' : 'data';
};

/**
 * Writes into the overlay all that it reads from below and would not read from the new backing node, in whole clusters, and flushes. Rejects with `cancelled`
 * after an abort, and with what either side fails with: the overlay reads as before then.
 */
export async function fillDifferences(options: FillOptions): Promise<void> {
  const { overlay, same, signal, onFault, onProgress } = options;
  const { node } = overlay;
  const align = Math.max(node.clusterBytes, SECTOR_BYTES);
  let current = 0;
  let moved = 0;
  const free = freeContext(signal, (bytes, copied = bytes) => {
    current += bytes;
    moved += copied;
    onProgress?.(current, node.length, moved);
  });
  const ctx: CopyContext = {
    ...free,
    handleError: async (error, isRead) => {
      onFault?.({ error, isRead });
      return 'report';
    },
  };
  const plan = new Plan(
    { source: node, base: same, classify: fromBelow, align, maxPieceBytes: MAX_PIECE_BYTES },
    0,
    node.length,
  );
  const filling = new Filling(options, align);
  await runCopy(ctx, {
    memory: node.host.memory,
    target: { link: overlay, bytes: 0 },
    chunks: new Chunker(plan, MAX_EXTENTS),
    chunkBytes: Math.max(CHUNK_BYTES, align),
    copy: (chunk, buffer, order) => filling.copy(chunk, buffer(), order),
  });
  await overlay.flush();
}

class Filling {
  readonly #overlay: Child;
  readonly #backing: Child | null;
  readonly #align: number;
  readonly #flags: WriteFlags;
  readonly #memory: Memory;

  constructor({ overlay, backing, compress, fua }: FillOptions, align: number) {
    this.#overlay = overlay;
    this.#backing = backing;
    this.#align = align;
    this.#flags = { unchanged: true, fua, ...(compress && { compressed: true }) };
    this.#memory = overlay.node.host.memory;
  }

  /** `buffer` has room for a chunk of data. */
  async copy(chunk: Chunk, buffer: Uint8Array, order: WriteOrder): Promise<CopyFault | null> {
    let reading = this.#overlay;
    const from = (link: Child): void => {
      reading = link;
    };
    let isRead = true;
    try {
      if (chunk.kind === 'zero') {
        for (const extent of chunk.extents) await this.#zeroes(extent, buffer, from);
        return null;
      }
      const parts = await this.#differences(chunk, buffer, from);
      isRead = false;
      await order.myTurn();
      const written =
        parts.bytes === 0 ? null : this.#overlay.writeExtents(parts.data, buffer.subarray(0, parts.bytes), this.#flags);
      order.passed();
      await written;
      for (const extent of parts.zero) await this.#hold(extent);
      return null;
    } catch (error) {
      return { error: toBlockError(error, { path: reading.filename, operation: isRead ? 'read' : 'write' }), isRead };
    }
  }

  /** Reads what differs to the begin of `buffer`: the parts with data there, and those that are zero. */
  async #differences(
    { extents, bytes }: Chunk,
    buffer: Uint8Array,
    from: (link: Child) => void,
  ): Promise<{ data: Extent[]; zero: Extent[]; bytes: number }> {
    const mine = buffer.subarray(0, bytes);
    from(this.#overlay);
    await this.#overlay.readExtents(extents, mine);
    let different = extents as Extent[];
    let left = bytes;
    if (this.#backing !== null) {
      const other = this.#memory.allocate(bytes);
      try {
        from(this.#backing);
        await readPadded(this.#backing, extents, other);
        const split = splitZeroes(extents, mine, equalMap(mine, other, this.#align), this.#align);
        different = split.data;
        left = split.bytes;
      } finally {
        this.#memory.free(other);
      }
    }
    from(this.#overlay);
    if (left === 0) return { data: [], zero: [], bytes: 0 };
    const rest = mine.subarray(0, left);
    const split = splitZeroes(different, rest, this.#zeroMap(rest), this.#align);
    // Without a backing node zeroes need not be held.
    return this.#backing === null ? { ...split, zero: [] } : split;
  }

  /** `extent` reads as zeroes: holds those parts that the new backing node has otherwise. `buffer` is for its data. */
  async #zeroes({ offset, length }: Extent, buffer: Uint8Array, from: (link: Child) => void): Promise<void> {
    const backing = this.#backing;
    if (backing === null) return;
    const end = offset + length;
    for (let at = offset; at < Math.min(end, backing.length); ) {
      from(backing);
      const { zero, length: run } = await chainStatus(backing.node, null, at, Math.min(end, backing.length) - at);
      const next = zero ? at + run : Math.min(end, roundUp(at + run, this.#align));
      if (!zero) {
        const start = Math.max(offset, roundDown(at, this.#align));
        for (let part = start; part < next; part += buffer.length) {
          const extent = { offset: part, length: Math.min(buffer.length, next - part) };
          const data = buffer.subarray(0, extent.length);
          from(backing);
          await readPadded(backing, [extent], data);
          const map = this.#zeroMap(data).map((isZero) => 1 - isZero);
          from(this.#overlay);
          for (const found of zeroExtents([extent], map, this.#align)) await this.#hold(found);
        }
      }
      at = next;
    }
  }

  #zeroMap(data: Uint8Array): Uint8Array {
    const map = new Uint8Array(Math.ceil(data.length / this.#align));
    this.#memory.zeroMap(data, this.#align, map);
    return map;
  }

  /**
   * Makes the overlay itself hold zeroes. A format without a mark for zeroes may leave out what reads as zeroes now, and would not over the new backing file:
   * that is written as data.
   */
  async #hold({ offset, length }: Extent): Promise<void> {
    const overlay = this.#overlay;
    const { fua } = this.#flags;
    await overlay.writeZeroes(offset, length, { mayUnmap: true, unchanged: true, fua });
    for (let at = offset; at < offset + length; ) {
      const status = await overlay.blockStatus(at, offset + length - at);
      if (!status.allocated) await this.#writeZeroes(at, status.length);
      at += status.length;
    }
  }

  async #writeZeroes(offset: number, length: number): Promise<void> {
    const zeroes = this.#memory.allocate(Math.min(length, CHUNK_BYTES));
    zeroes.fill(0);
    try {
      for (let done = 0; done < length; done += zeroes.length) {
        await this.#overlay.write(offset + done, zeroes.subarray(0, Math.min(zeroes.length, length - done)), {
          unchanged: true,
          fua: this.#flags.fua,
        });
      }
    } finally {
      this.#memory.free(zeroes);
    }
  }
}

/** As `Child.readExtents`; what lies behind the end of the node is zeroes. */
export async function readPadded(link: Child, extents: readonly Extent[], buffer: Uint8Array): Promise<void> {
  const last = extents[extents.length - 1];
  if (last.offset + last.length <= link.length) return link.readExtents(extents, buffer);
  let at = 0;
  for (const { offset, length } of extents) {
    const inside = Math.max(0, Math.min(length, link.length - offset));
    if (inside > 0) await link.read(offset, buffer.subarray(at, at + inside));
    buffer.fill(0, at + inside, at + length);
    at += length;
  }
}
