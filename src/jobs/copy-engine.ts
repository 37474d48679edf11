// The engine of every copy: a few workers, each with one buffer that stays in its core's cache, take chunks and move them.
//
//   chunks --take--> worker: throttle, enterIo, [copy], leaveIo, policy on error, progress
//                    worker: ...
//
// The job decides what [copy] does; most jobs call `transfer` (transfer.ts). Writes begin in the order in which the chunks were taken, so that a
// format allocates its clusters in order; they may end in any.

import type { Child } from '../block/child.js';
import type { Memory } from '../host/host.js';
import type { RateLimit } from '../host/rate-limit.js';
import { refuseAborted } from '../util/abort.js';
import { reportUnforeseen } from '../util/best-effort.js';
import { atGuestOffset, BlockError, toBlockError } from '../util/errors.js';
import { type Chunk, type ChunkSource, cut } from './copy-plan.js';
import type { JobContext } from './driver.js';

/** What the engine needs of a `JobContext`; `convert` and the last round of a mirror have simpler ones. */
export type CopyContext = Pick<JobContext, 'speed' | 'throttle' | 'enterIo' | 'leaveIo' | 'handleError' | 'sleep'> & {
  readonly progress: Pick<JobContext['progress'], 'advance'>;
};

/** Bytes of one worker's buffer, and how many workers: measured; smaller chunks cost hand-overs, more buffers cost cache. */
export const CHUNK_BYTES = 1024 * 1024;
/** Bytes of a job that are handed out at once where steps of the host move them: each costs JavaScript the same. Measured; more of them end all at once. */
export const STEP_BYTES = 2 * CHUNK_BYTES;
export const WORKERS = 4;
/** Extents of one chunk at most. */
export const MAX_EXTENTS = 128;
/** Largest piece that is made zero, or skipped, in one step. */
export const MAX_PIECE_BYTES = 1 << 30;
/** Pause before work whose error was ignored is tried again. */
const RETRY_DELAY_MS = 100;

/** An error and the side that it happened on. */
export interface CopyFault {
  error: BlockError;
  isRead: boolean;
  /** Bytes of the chunk that lie before what failed, as far as that is known. Default: 0. */
  at?: number;
  /** Where what failed begins for a guest. Default: to a chunk of `chunkBytes`, as `at` has it. */
  guestOffset?: number;
}

export interface EngineOptions {
  memory: Memory;
  /** Where the copy writes, and how many bytes may come at most, so that the target can reserve space. */
  target?: { link: Child; bytes: number };
  chunks: ChunkSource;
  /** Moves one chunk; `buffer` has room for `chunkBytes`. */
  copy(chunk: Chunk, buffer: () => Uint8Array, order: WriteOrder): Promise<CopyFault | null>;
  chunkBytes?: number;
  /**
   * Bytes of one chunk while steps of the host move them and there is no rate to be kept. It is asked for each chunk, since those who must not wait
   * for long may come and go. Default: `chunkBytes`.
   */
  stepBytes?(): number;
  /** The first chunks have `stepBytes`, too, before it is known whether steps move them. */
  stepsFirst?: boolean;
  workers?: number;
  /** Writes need not begin in order: for a `copy` that takes locks, with which waiting for a turn could be circular. */
  unordered?: boolean;
  /** Called for an ignored fault, whose chunk is left behind; default: it is tried again. */
  leftBehind?(error: BlockError): void;
  /** The chunk is copied (or was to be skipped). */
  finished?(chunk: Chunk): void;
  /**
   * The chunk could not be copied; nothing of it may stay locked. The chunk source brings it again where the error policy wants that;
   * without this method the engine keeps it for another attempt.
   */
  abandoned?(chunk: Chunk): void;
}

/**
 * Copies all chunks. Resolves when all are done, rejects with the first error that was reported (or `cancelled`), in both
 * cases with no request of it in flight and all buffers freed. What was copied before an error is flushed.
 */
export async function runCopy(ctx: CopyContext, options: EngineOptions): Promise<void> {
  const pool = new WorkerPool(ctx, options);
  let failure: { error: unknown } | null = null;
  const work = async (): Promise<void> => {
    const worker = new Worker(pool);
    try {
      while (await worker.step());
    } catch (error) {
      pool.failed = true;
      failure ??= { error };
    } finally {
      worker.close();
    }
  };
  options.target?.link.expectWrites(options.target.bytes);
  await Promise.all(Array.from({ length: options.workers ?? WORKERS }, work));
  options.target?.link.expectWrites(0);
  if (failure === null) return;
  const { error } = failure as { error: unknown };
  if (options.target !== undefined) await keepCopied(ctx, options.target.link, error);
  throw error;
}

/** What was copied until `error` is kept: the target's tables are written, as far as they can be. */
async function keepCopied(ctx: CopyContext, target: Child, error: unknown): Promise<void> {
  if (error instanceof BlockError && error.code === 'cancelled') return;
  try {
    await ctx.enterIo();
    try {
      await target.flush();
    } finally {
      ctx.leaveIo();
    }
  } catch (failed) {
    // A flush that fails does so again when the target is closed; the copy's own error says why it ended.
    reportUnforeseen('keeping what was copied', failed);
  }
}

class WorkerPool {
  readonly ctx: CopyContext;
  readonly options: EngineOptions;
  readonly chunkBytes: number;
  readonly writes = new WriteSequence();
  /** There are no more chunks to take. */
  ended = false;
  /** One of the workers has failed: the others stop. */
  failed = false;
  /** The last chunk was moved by a step of the host: more of them may go at once. */
  stepping: boolean;
  /** Bytes that were taken, but not charged to the speed limit yet: the next to take a chunk waits for them. */
  uncharged = 0;
  #token: Promise<void> = Promise.resolve();

  constructor(ctx: CopyContext, options: EngineOptions) {
    this.ctx = ctx;
    this.options = options;
    this.chunkBytes = options.chunkBytes ?? CHUNK_BYTES;
    this.stepping = options.stepsFirst ?? false;
  }

  /** Bytes of the next chunk. */
  get handedOut(): number {
    if (!this.stepping || this.ctx.speed > 0) return this.chunkBytes;
    return Math.max(this.chunkBytes, this.options.stepBytes?.() ?? 0);
  }

  /** Chunks are taken by one worker at a time: resolves when it is this one's turn, with a function that ends the turn. */
  async waitToTake(): Promise<() => void> {
    const before = this.#token;
    let pass: () => void = () => {};
    this.#token = new Promise((resolve) => {
      pass = resolve;
    });
    await before;
    return pass;
  }
}

class Worker {
  readonly #pool: WorkerPool;
  #buffer: Uint8Array | null = null;
  /** What it has taken, and what is kept of it for another attempt: parts of `chunkBytes` at most, the one that failed first. */
  #chunks: Chunk[] = [];

  constructor(pool: WorkerPool) {
    this.#pool = pool;
  }

  /** Takes and copies one chunk. False at the end. */
  async step(): Promise<boolean> {
    const pool = this.#pool;
    const { ctx } = pool;
    const pass = this.#chunks.length === 0 ? await pool.waitToTake() : null;
    try {
      if (pool.failed || (pool.ended && this.#chunks.length === 0)) return false;
      if (pass !== null) {
        await ctx.throttle(pool.uncharged);
        pool.uncharged = 0;
      }
      // A chunk is taken within the section in which it is copied: a job that is paused, or waits for its rate, holds nothing.
      await ctx.enterIo();
      let fault: CopyFault | null;
      try {
        fault = await this.#takeAndCopy(pass);
      } finally {
        ctx.leaveIo();
      }
      // Where no chunk could be taken, the turn is kept until then: the others would meet, and report, the same.
      if (fault !== null) await this.#decide(fault);
      return true;
    } finally {
      pass?.();
    }
  }

  /** Does what the error policy says about `fault`: rejects with it where it is reported. */
  async #decide({ error, isRead, guestOffset }: CopyFault): Promise<void> {
    const pool = this.#pool;
    const { ctx, options } = pool;
    const decision = await ctx.handleError(error, isRead, guestOffset);
    if (decision === 'report') {
      pool.failed = true;
      throw atGuestOffset(error, guestOffset);
    }
    if (decision !== 'ignore') return;
    if (options.leftBehind === undefined) await ctx.sleep(RETRY_DELAY_MS);
    else if (this.#chunks.shift() !== undefined) options.leftBehind(error);
  }

  async #takeAndCopy(pass: (() => void) | null): Promise<CopyFault | null> {
    const pool = this.#pool;
    const { ctx, options } = pool;
    if (pass !== null) {
      try {
        const chunk = await options.chunks.next(pool.handedOut);
        if (chunk === null) pool.ended = true;
        else this.#chunks.push(chunk);
        if (chunk?.kind === 'data') pool.uncharged += chunk.bytes;
      } catch (error) {
        const failure = toBlockError(error);
        return { error: failure, isRead: true, guestOffset: failure.guestOffset };
      }
    }
    if (this.#chunks.length === 0) return null;
    const chunk = this.#chunks[0];
    const fault = chunk.kind === 'skip' ? null : await this.#copy(chunk, pass);
    if (fault === null) {
      this.#chunks.shift();
      options.finished?.(chunk);
      ctx.progress.advance(chunk.bytes, chunk.kind === 'data' ? chunk.bytes : 0);
      return null;
    }
    // What is tried again is tried in small parts, and what is left behind is one of them.
    pool.stepping = false;
    const parts = chunk.kind === 'data' ? cut(chunk, pool.chunkBytes) : [chunk];
    const [failed] = parts.splice(parts.length === 1 ? 0 : Math.floor((fault.at ?? 0) / pool.chunkBytes), 1);
    if (options.abandoned === undefined) this.#chunks.splice(0, 1, failed, ...parts);
    else {
      this.#chunks.shift();
      options.abandoned(chunk);
    }
    return { ...fault, guestOffset: fault.guestOffset ?? failed.extents[0]?.offset };
  }

  async #copy(chunk: Chunk, pass: (() => void) | null): Promise<CopyFault | null> {
    const pool = this.#pool;
    const { options, writes } = pool;
    // Taken within the I/O section: whoever waits for its turn waits for I/O only, never for the end of a pause.
    const order = writes.next(chunk.kind === 'data' && options.unordered !== true);
    pass?.();
    try {
      let buffered = false;
      const takeBuffer = (): Uint8Array => {
        buffered = true;
        this.#buffer ??= options.memory.allocate(pool.chunkBytes);
        return this.#buffer;
      };
      const fault = await options.copy(chunk, takeBuffer, order);
      if (chunk.kind === 'data') pool.stepping = !buffered;
      return fault;
    } catch (error) {
      return { error: toBlockError(error), isRead: false };
    } finally {
      order.passed();
    }
  }

  close(): void {
    if (this.#buffer !== null) this.#pool.options.memory.free(this.#buffer);
  }
}

/** A chunk's place in the order of writes. */
export interface WriteOrder {
  /** Resolves when every chunk that was taken earlier has begun to write, or will not. */
  myTurn(): Promise<void> | undefined;
  /** Lets the next one begin. More calls do nothing. */
  passed(): void;
}

/** For callers whose writes need no order. */
export const NO_ORDER: WriteOrder = { myTurn: () => undefined, passed() {} };

class WriteSequence {
  #given = 0;
  #current = 0;
  readonly #passed = new Set<number>();
  readonly #waiting = new Map<number, () => void>();

  next(ordered: boolean): WriteOrder {
    if (!ordered) return NO_ORDER;
    const turn = this.#given++;
    return {
      myTurn: () => (turn <= this.#current ? undefined : new Promise((resolve) => this.#waiting.set(turn, resolve))),
      passed: () => {
        if (turn < this.#current) return;
        this.#passed.add(turn);
        while (this.#passed.delete(this.#current)) this.#current++;
        this.#waiting.get(this.#current)?.();
        this.#waiting.delete(this.#current);
      },
    };
  }
}

/** A context without a job: no pause, no policy, a fixed rate; `signal` cancels it. */
export function freeContext(
  signal?: AbortSignal,
  advance: (bytes: number, moved?: number) => void = () => {},
  limit?: RateLimit,
): CopyContext {
  const check = (): void => {
    refuseAborted(signal);
  };
  return {
    progress: { advance },
    speed: limit?.speed ?? 0,
    async throttle(bytes) {
      check();
      if (bytes > 0) await limit?.admit(bytes, signal);
    },
    enterIo() {
      check();
      return undefined;
    },
    leaveIo() {},
    async sleep() {},
    async handleError() {
      return 'report';
    },
  };
}
