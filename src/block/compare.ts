// Do two images read the same? Both chains are resolved to runs of one status first: what is zeroes on both sides is not read, what
// is zeroes on one side is only read on the other.

import { BlockError } from '../util/errors.js';
import { type ChainStatus, chainStatus } from './chain.js';
import type { BlockNode } from './node.js';

export interface CompareOptions {
  /** Sizes and block status must be the same too, as `qemu-img compare -s`. */
  strict?: boolean;
  signal?: AbortSignal;
  /** Bytes that are done, and all of them. */
  onProgress?: (current: number, total: number) => void;
}

export interface CompareResult {
  identical: boolean;
  /** What differs first. `size` and `status` only where `strict`. */
  difference?: 'content' | 'size' | 'status';
  /** Of the first difference: of the 512-byte sector for `content`. */
  offset?: number;
  /** The difference lies behind the end of the shorter image. */
  behindEnd?: boolean;
  /** One image is longer; not strictly, they are identical where the rest reads as zeroes. */
  sizesDiffer: boolean;
}

const CHUNK_BYTES = 1 << 20;
const IN_FLIGHT = 6;
const SECTOR_BYTES = 512;

interface Task {
  offset: number;
  length: number;
  /** Which sides are read; the other one is zeroes. */
  a: boolean;
  b: boolean;
}

/** Rejects with what reading fails with, and with `cancelled`. */
export async function compareNodes(a: BlockNode, b: BlockNode, options: CompareOptions = {}): Promise<CompareResult> {
  const sizesDiffer = a.length !== b.length;
  if (sizesDiffer && options.strict) return { identical: false, difference: 'size', sizesDiffer };
  const total = Math.max(a.length, b.length);
  const memory = a.host.memory;
  const buffers = Array.from({ length: IN_FLIGHT }, () => [memory.allocate(CHUNK_BYTES), memory.allocate(CHUNK_BYTES)]);
  /** Oldest first, so that the first difference is the one that is found. */
  const pending: { done: Promise<number>; slot: number }[] = [];
  const free = buffers.map((_, slot) => slot);
  const oldest = async (): Promise<number> => {
    const { done, slot } = pending.shift()!;
    const offset = await done;
    free.push(slot);
    return offset;
  };
  const content = (offset: number): CompareResult => ({
    identical: false,
    difference: 'content',
    offset,
    behindEnd: offset >= Math.min(a.length, b.length),
    sizesDiffer,
  });
  try {
    for (let at = 0; at < total; ) {
      if (options.signal?.aborted) throw new BlockError('cancelled', 'The comparison was cancelled');
      const [left, right] = await Promise.all([statusOf(a, at, total - at), statusOf(b, at, total - at)]);
      const length = Math.min(left.length, right.length);
      if (options.strict && flags(left) !== flags(right)) {
        while (pending.length > 0) {
          const offset = await oldest();
          if (offset >= 0) return content(offset);
        }
        return { identical: false, difference: 'status', offset: at, sizesDiffer };
      }
      const whole = { a: !left.zero, b: !right.zero };
      for (let offset = at; (whole.a || whole.b) && offset < at + length; offset += CHUNK_BYTES) {
        if (free.length === 0) {
          const found = await oldest();
          if (found >= 0) return content(found);
        }
        const slot = free.pop()!;
        const task = { offset, length: Math.min(CHUNK_BYTES, at + length - offset), ...whole };
        const done = firstDifference(a, b, task, buffers[slot]);
        // Looked at in its turn, or not at all after an earlier difference.
        done.catch(() => undefined);
        pending.push({ done, slot });
      }
      at += length;
      options.onProgress?.(at, total);
    }
    while (pending.length > 0) {
      const offset = await oldest();
      if (offset >= 0) return content(offset);
    }
    return { identical: true, sizesDiffer };
  } finally {
    await Promise.allSettled(pending.map(({ done }) => done));
    for (const pair of buffers) for (const buffer of pair) memory.free(buffer);
  }
}

/** Behind its end an image reads as zeroes. The two parts of an image are never one run. */
async function statusOf(node: BlockNode, offset: number, length: number): Promise<ChainStatus> {
  if (offset < node.length) return chainStatus(node, null, offset, Math.min(length, node.length - offset));
  return {
    length,
    allocated: false,
    data: false,
    zero: true,
    compressed: false,
    offset: -1,
    node: null,
    depth: -1,
    layer: null,
  };
}

function flags(status: ChainStatus): string {
  return [status.allocated, status.data, status.zero, status.compressed, status.offset >= 0].join();
}

/** Offset of the sector in which the sides differ first, -1 if nowhere. */
async function firstDifference(a: BlockNode, b: BlockNode, task: Task, buffers: Uint8Array[]): Promise<number> {
  const { offset, length } = task;
  const memory = a.host.memory;
  const left = buffers[0].subarray(0, length);
  const right = buffers[1].subarray(0, length);
  await Promise.all([task.a ? a.read(offset, left) : undefined, task.b ? b.read(offset, right) : undefined]);
  let index: number;
  if (task.a && task.b) {
    index = memory.firstDifference(left, right);
  } else {
    const side = task.a ? left : right;
    index = memory.isZero(side) ? -1 : side.findIndex((byte) => byte !== 0);
  }
  return index < 0 ? -1 : offset + Math.floor(index / SECTOR_BYTES) * SECTOR_BYTES;
}
