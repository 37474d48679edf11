// Requests of any range to a driver that takes whole blocks only (`requestAlignment`):
//
//   |xxxx|xxxx|xxxx|xxxx|   blocks of the driver
//      [head|middle|tail]    what is asked for
//
// A read fetches the blocks at both ends as wholes. A write reads them first, changes its part and writes them back (read, modify,
// write), alone in these blocks: a lock keeps off every other write that shares one, while writes of whole blocks share theirs.
// Where the driver takes any range, nothing of this is called.

import type { ZeroScan } from '../../host/host.js';
import { BlockError } from '../../util/errors.js';
import { RangeLock } from '../../util/range-lock.js';
import { later, settleAll } from '../../util/settle.js';
import type { Extent, WriteFlags, ZeroFlags } from '../types.js';
import { NodeChanges } from './changes.js';

/** A write that needs padding and is not longer goes to the driver as one request, from a copy; of a longer one only the two ends do. */
const MAX_COPY_BYTES = 1 << 20;

export abstract class NodePadding extends NodeChanges {
  readonly #blocks = new RangeLock();

  /** The driver takes the range as it is. */
  protected isWhole(offset: number, length: number): boolean {
    const unit = this.requestAlignment;
    return unit === 1 || (offset % unit === 0 && length % unit === 0);
  }

  protected async readPadded(offset: number, buffer: Uint8Array, scan?: ZeroScan): Promise<void> {
    const end = offset + buffer.length;
    const [start, stop] = this.#inside(offset, end);
    const parts: Promise<void>[] = [];
    if (start > stop) parts.push(later(this.#readPart(offset, buffer)));
    else {
      if (start > offset) parts.push(later(this.#readPart(offset, buffer.subarray(0, start - offset))));
      if (stop > start) parts.push(later(this.doRead(start, buffer.subarray(start - offset, stop - offset))));
      if (end > stop) parts.push(later(this.#readPart(stop, buffer.subarray(stop - offset))));
    }
    await settleAll(parts);
    if (scan !== undefined) this.host.memory.zeroMap(buffer, scan.granule, scan.map);
  }

  protected async writePadded(extents: readonly Extent[], buffer: Uint8Array, flags: WriteFlags): Promise<void> {
    const parts: Promise<void>[] = [];
    let at = 0;
    for (const { offset, length } of extents) {
      if (length > 0) parts.push(later(this.#write(offset, buffer.subarray(at, at + length), flags)));
      at += length;
    }
    await settleAll(parts);
  }

  protected async zeroPadded(offset: number, length: number, flags: ZeroFlags): Promise<void> {
    const end = offset + length;
    const [start, stop] = this.#inside(offset, end);
    const whole = this.isWhole(offset, length);
    if (flags.noFallback && !whole) {
      const reason = `fast zeroes need whole blocks of ${this.requestAlignment} bytes`;
      throw BlockError.at(this.filename, 'unsupported', reason, { operation: 'write zeroes', offset, length });
    }
    await this.#locked(offset, end, !whole, async () => {
      const { fua } = flags;
      if (start >= stop) return this.#writePart(offset, new Uint8Array(length), { fua });
      const parts: Promise<void>[] = [later(this.doWriteZeroes(start, stop - start, flags))];
      if (start > offset) parts.push(later(this.#writePart(offset, new Uint8Array(start - offset), { fua })));
      if (end > stop) parts.push(later(this.#writePart(stop, new Uint8Array(end - stop), { fua })));
      await settleAll(parts);
    });
  }

  /** Whole blocks only: it is a hint. */
  protected async discardWhole(offset: number, length: number): Promise<void> {
    const [start, stop] = this.#inside(offset, offset + length);
    if (start < stop) await this.#locked(start, stop, false, () => this.doDiscard(start, stop - start));
  }

  protected async reservePadded(offset: number, length: number, ahead: number): Promise<number> {
    const [first, last] = this.#around(offset, offset + length);
    let end = 0;
    await this.#locked(first, last, true, async () => {
      end = await this.doReserve(first, last - first, Math.max(0, offset + length + ahead - last));
    });
    return Math.min(end, offset + length + ahead);
  }

  async #write(offset: number, buffer: Uint8Array, flags: WriteFlags): Promise<void> {
    const end = offset + buffer.length;
    const whole = this.isWhole(offset, buffer.length);
    await this.#locked(offset, end, !whole, async () => {
      if (whole) return this.doWrite(offset, buffer, flags);
      if (buffer.length <= MAX_COPY_BYTES) return this.#writePart(offset, buffer, flags);
      const [start, stop] = this.#inside(offset, end);
      const parts: Promise<void>[] = [
        later(this.doWrite(start, buffer.subarray(start - offset, stop - offset), flags)),
      ];
      if (start > offset) parts.push(later(this.#writePart(offset, buffer.subarray(0, start - offset), flags)));
      if (end > stop) parts.push(later(this.#writePart(stop, buffer.subarray(stop - offset), flags)));
      await settleAll(parts);
    });
  }

  /** Reads the blocks that the range touches. */
  async #readPart(offset: number, buffer: Uint8Array): Promise<void> {
    const { memory } = this.host;
    const [first, last] = this.#around(offset, offset + buffer.length);
    const blocks = memory.allocate(last - first);
    try {
      await this.doRead(first, blocks);
      buffer.set(blocks.subarray(offset - first, offset - first + buffer.length));
    } finally {
      memory.free(blocks);
    }
  }

  /** Writes the blocks that the range touches; what is to stay in the first and the last one is read before. */
  async #writePart(offset: number, buffer: Uint8Array, flags: WriteFlags): Promise<void> {
    const { memory } = this.host;
    const unit = this.requestAlignment;
    const end = offset + buffer.length;
    const [first, last] = this.#around(offset, end);
    const blocks = memory.allocate(last - first);
    try {
      const tail = last - unit;
      const parts: Promise<void>[] = [];
      if (first < offset) parts.push(later(this.#readEdge('head', first, blocks.subarray(0, unit))));
      if (end < last && !(first < offset && tail === first)) {
        parts.push(later(this.#readEdge('tail', tail, blocks.subarray(tail - first))));
      }
      await settleAll(parts);
      blocks.set(buffer, offset - first);
      await this.doWrite(first, blocks, flags);
    } finally {
      memory.free(blocks);
    }
  }

  /** Reads the block that a write begins, or ends, in. */
  async #readEdge(edge: 'head' | 'tail', offset: number, block: Uint8Array): Promise<void> {
    await this.debugEvents?.raise(`pwritev_rmw_${edge}`);
    await this.doRead(offset, block);
    await this.debugEvents?.raise(`pwritev_rmw_after_${edge}`);
  }

  /** Runs `action` while no other write is in the blocks of [start, end): none at all, or none that must be alone there. */
  async #locked(start: number, end: number, alone: boolean, action: () => Promise<void>): Promise<void> {
    const [first, last] = this.#around(start, end);
    const range = await this.#blocks.acquire(first, last, alone ? 'exclusive' : 'shared');
    try {
      await action();
    } finally {
      this.#blocks.release(range);
    }
  }

  /** The whole blocks within [start, end); where there are none, the first is not below the second. */
  #inside(start: number, end: number): [number, number] {
    const unit = this.requestAlignment;
    return [Math.ceil(start / unit) * unit, Math.floor(end / unit) * unit];
  }

  /** The blocks that [start, end) touches. */
  #around(start: number, end: number): [number, number] {
    const unit = this.requestAlignment;
    return [Math.floor(start / unit) * unit, Math.ceil(end / unit) * unit];
  }
}
