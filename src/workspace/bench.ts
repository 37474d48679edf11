// Sends requests of one size to an image, as many at a time as is asked for, and measures how long they take in all. The requests go up in steps, and
// begin again at the start of the image (by the remainder) once they have reached its end:
//
//   offset     |  step  |  step  | ...      the n-th request is at (offset + n * step) % size, for n > 0
//   |  bytes   |
//            |  bytes   |                   a request that passes the end of the image fails, and ends the run

import { holdTarget } from '../block/hold.js';
import type { BlockNode } from '../block/node/node.js';
import type { WriteFlags } from '../block/types.js';
import { refuseAborted } from '../util/abort.js';
import { BlockError } from '../util/errors.js';

/** Memory for the data of the requests that are under way: beyond that, they share it. */
const MEMORY_BYTES = 256 << 20;
/** The host has no more slots: what is beyond that would wait there. */
const MAX_UNDER_WAY = 1024;

export interface BenchPlan {
  /** Requests in all. */
  count: number;
  /** Requests that are under way at a time. */
  depth: number;
  /** Bytes of a request. */
  bytes: number;
  /** Bytes from one request to the next. */
  step: number;
  /** Where the first one is. */
  offset: number;
  /** The byte that is written; undefined: the image is read. */
  pattern?: number;
  /** Each write is durable before it is answered. */
  writethrough?: boolean;
  /** The image is flushed whenever a multiple of so many writes is left to do; 0: never. */
  flushInterval: number;
  /** A flush waits until nothing is under way, and what follows waits for the flush. */
  drain: boolean;
  signal?: AbortSignal;
}

/**
 * Runs the requests, and resolves with the time that they took, in milliseconds. Rejects with the first failure (`out-of-bounds`, `io`, `no-space`, ...),
 * with `limit` where a request is too large for the memory, and with `cancelled`: nothing is under way then. What was written stays.
 */
export async function benchNode(node: BlockNode, plan: BenchPlan): Promise<number> {
  const { memory, clock } = node.graph.host;
  const underWay = Math.max(1, Math.min(plan.depth, plan.count, MAX_UNDER_WAY));
  const buffers: Uint8Array[] = [];
  const target = plan.pattern === undefined ? null : holdTarget(node);
  try {
    // Where not even the first one has room in the image, it takes no memory.
    const fits = plan.offset + plan.bytes <= node.length;
    const some = fits ? Math.max(1, Math.min(underWay, Math.floor(MEMORY_BYTES / Math.max(1, plan.bytes)))) : 0;
    while (buffers.length < some) buffers.push(memory.allocate(plan.bytes).fill(plan.pattern ?? 0));
    const run = new Run(node, plan, buffers);
    const startedMs = clock.now();
    const part = plan.drain && plan.flushInterval > 0 ? plan.flushInterval : plan.count;
    // A part that is smaller comes first.
    for (let left = plan.count; left > 0; ) {
      const count = left % part || part;
      await run.some(count, underWay);
      left -= count;
      if (plan.drain && plan.flushInterval > 0) await node.flush();
    }
    return clock.now() - startedMs;
  } finally {
    for (const buffer of buffers) memory.free(buffer);
    if (target !== null) node.detach(target);
  }
}

class Run {
  readonly #node: BlockNode;
  readonly #plan: BenchPlan;
  readonly #buffers: readonly Uint8Array[];
  readonly #flags: WriteFlags | undefined;
  #offset: number;
  #done = 0;

  constructor(node: BlockNode, plan: BenchPlan, buffers: readonly Uint8Array[]) {
    this.#node = node;
    this.#plan = plan;
    this.#buffers = buffers;
    this.#flags = plan.writethrough ? { fua: true } : undefined;
    this.#offset = plan.offset;
  }

  /** Sends `count` requests, `underWay` at a time, and resolves when all are answered. */
  async some(count: number, underWay: number): Promise<void> {
    let left = count;
    let failed = false;
    const sender = async (index: number): Promise<void> => {
      const buffer = this.#buffers[index % this.#buffers.length];
      try {
        while (left > 0 && !failed) {
          left--;
          await this.#one(buffer);
        }
      } catch (error) {
        failed = true;
        throw error;
      }
    };
    const senders = Array.from({ length: Math.min(underWay, count) }, (_, index) => sender(index));
    for (const result of await Promise.allSettled(senders)) if (result.status === 'rejected') throw result.reason;
  }

  async #one(buffer: Uint8Array): Promise<void> {
    const { count, bytes, step, pattern, drain, flushInterval, signal } = this.#plan;
    refuseAborted(signal);
    const node = this.#node;
    const offset = this.#offset;
    if (offset + bytes > node.length) {
      throw BlockError.at(node.filename, 'out-of-bounds', 'a request passes the end of the image', {
        operation: pattern === undefined ? 'read' : 'write',
        guestOffset: offset,
        length: bytes,
      });
    }
    this.#offset = node.length === 0 ? offset : (offset + step) % node.length;
    await (pattern === undefined ? node.read(offset, buffer) : node.write(offset, buffer, this.#flags));
    this.#done++;
    if (!drain && flushInterval > 0 && (count - this.#done) % flushInterval === 0) await node.flush();
  }
}
