// Writes bytes that come in order into an image: nothing is kept but two buffers, and the target grows with them.
//
//   read --chunk--> [truncate: longer] --> write, zeroes left out --> ... --> truncate: to where the bytes ended, in whole sectors
//
// A target that does not grow is refused more bytes than it has; fewer leave zeroes behind them.

import type { Child } from '../block/child.js';
import { compresses } from '../block/compression.js';
import { readsAsZeroes } from '../block/create.js';
import type { WriteFlags, ZeroFlags } from '../block/types.js';
import type { ByteSource } from '../host/byte-stream.js';
import { RateLimit } from '../host/rate-limit.js';
import { refuseAborted } from '../util/abort.js';
import { bestEffort } from '../util/best-effort.js';
import { BlockError } from '../util/errors.js';
import { roundUp, SECTOR_BYTES } from '../util/numbers.js';
import { later } from '../util/settle.js';
import { sparseStep } from './sparse.js';

/**
 * A target with clusters grows by so many bytes at least, and by this share of what it has, while more come: that writes its tables. One that is raw grows by what
 * has come. So a copy that is killed leaves no disk that is longer by far than what is in it.
 */
const LEAST_GROWTH_BYTES = 64 << 20;
const GROWTH_SHARE = 8;

export interface ConvertInOptions {
  source: ByteSource;
  /** As in `ConvertOptions`. */
  sparseSize?: number;
  compress?: boolean;
  fua?: boolean;
  speed?: number;
  signal?: AbortSignal;
  /** Bytes that have come. */
  onProgress?: (bytes: number) => void;
}

/** What the target is like. */
export interface ConvertInTarget {
  link: Child;
  /** It was made for this. */
  isNew: boolean;
  /** It is to be as long as what comes. */
  grows: boolean;
}

/**
 * Copies what comes, and flushes. `buffers` are two, of equal length; the first has the first `first` bytes already. Rejects with `no-space` where more come than the target has
 * room for, with `cancelled` after an abort, and with what either side fails with; the target is incomplete then.
 */
export function convertIn(
  options: ConvertInOptions,
  target: ConvertInTarget,
  buffers: readonly Uint8Array[],
  first: number,
): Promise<void> {
  return new ByteCopy(options, target).run(buffers, first);
}

class ByteCopy {
  readonly #options: ConvertInOptions;
  readonly #link: Child;
  readonly #grows: boolean;
  readonly #compress: boolean;
  readonly #isZero: boolean;
  readonly #granule: number;
  readonly #flags: WriteFlags | undefined;
  readonly #zeroFlags: ZeroFlags;

  constructor(options: ConvertInOptions, { link, isNew, grows }: ConvertInTarget) {
    const { fua, sparseSize } = options;
    const compress = compresses(link.node, options.compress);
    this.#options = options;
    this.#compress = compress;
    this.#link = link;
    this.#grows = grows && !link.node.fixedSize;
    this.#isZero = isNew && readsAsZeroes(link.node);
    const step = sparseStep(sparseSize);
    this.#granule = step === 0 ? 0 : Math.max(step, compress ? link.node.clusterBytes : link.node.copyUnitBytes);
    this.#flags = compress || fua ? { ...(compress && { compressed: true }), ...(fua && { fua: true }) } : undefined;
    this.#zeroFlags = { mayUnmap: true, ...(fua && { fua: true }) };
  }

  /** How many bytes are written at `at`, for `bytes` that have come: compressed are whole clusters only, where the disk goes on behind them. */
  #fillCluster(at: number, bytes: number): number {
    const { clusterBytes } = this.#link.node;
    if (!this.#compress || clusterBytes === 0) return bytes;
    return Math.min(roundUp(bytes, clusterBytes), this.#link.length - at);
  }

  /** `buffers[0]` has the first bytes already. */
  async run(buffers: readonly Uint8Array[], first: number): Promise<void> {
    const { source, signal, speed = 0, onProgress } = this.#options;
    const limit = speed > 0 ? new RateLimit(this.#link.node.host.clock, speed) : null;
    let at = 0;
    for (let [turn, bytes] = [0, first]; ; turn++) {
      const buffer = buffers[turn % 2];
      const isLast = bytes < buffer.length;
      // What comes next is read while this is written.
      const next = later(isLast ? Promise.resolve(0) : source.read(buffers[(turn + 1) % 2]));
      try {
        if (bytes > 0) await limit?.admit(bytes, signal);
        const whole = roundUp(bytes, SECTOR_BYTES);
        buffer.fill(0, bytes, whole);
        await this.#makeRoom(at + whole, isLast);
        const filled = this.#fillCluster(at, whole);
        buffer.fill(0, whole, filled);
        await this.#write(at, buffer.subarray(0, filled));
        onProgress?.(at + whole);
        at += filled;
      } catch (error) {
        source.stop();
        await Promise.allSettled([next]);
        throw error;
      }
      if (isLast) break;
      bytes = await next;
      refuseAborted(signal);
    }
    const rest = this.#link.length - at;
    if (rest > 0 && !this.#isZero) await this.#link.writeZeroes(at, rest, this.#zeroFlags);
    await this.#link.flush();
  }

  async #makeRoom(end: number, isLast: boolean): Promise<void> {
    const { length } = this.#link;
    if (this.#grows && isLast) {
      if (end !== length) await this.#link.truncate(end);
      return;
    }
    if (end <= length) return;
    if (!this.#grows) {
      const text = `there are more bytes than the ${length} that the target has room for`;
      throw new BlockError('no-space', text, { path: this.#link.filename, operation: 'write' });
    }
    if (this.#link.node.clusterBytes === 0) return this.#link.truncate(end);
    const share = roundUp(length / GROWTH_SHARE, SECTOR_BYTES);
    const ahead = Math.max(end, length + Math.max(share, LEAST_GROWTH_BYTES));
    try {
      await this.#link.truncate(ahead);
    } catch (error) {
      bestEffort('growing ahead')(error);
      await this.#link.truncate(end);
    }
  }

  async #write(offset: number, data: Uint8Array): Promise<void> {
    if (data.length === 0) return;
    const granule = this.#granule;
    if (granule === 0) return this.#link.write(offset, data, this.#flags);
    const map = new Uint8Array(Math.ceil(data.length / granule));
    this.#link.node.host.memory.zeroMap(data, granule, map);
    for (let step = 0; step < map.length; ) {
      let end = step + 1;
      while (end < map.length && map[end] === map[step]) end++;
      const [from, to] = [step * granule, Math.min(end * granule, data.length)];
      if (map[step] === 0) await this.#link.write(offset + from, data.subarray(from, to), this.#flags);
      else if (!this.#isZero) await this.#link.writeZeroes(offset + from, to - from, this.#zeroFlags);
      step = end;
    }
  }
}
