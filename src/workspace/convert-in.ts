// Makes an image of bytes that come in order, from standard input or a pipe: raw, and of a size that is known when they end. Nothing is kept but two buffers: the target grows
// with them.
//
//   read --chunk--> [truncate: longer] --> write, zeroes left out --> ... --> truncate: to where the bytes ended, in whole sectors
//
// A target that is there already, or whose size is given, does not grow: more bytes than it has are an error, fewer leave zeroes behind them.

import type { Child } from '../block/child.js';
import { withLink } from '../block/child.js';
import {
  checkCreateOptions,
  createImage,
  type ImageCreateOptions,
  type NewFileOptions,
  readsAsZeroes,
} from '../block/create.js';
import type { Graph } from '../block/graph.js';
import type { BlockNode } from '../block/node/node.js';
import type { OpenOptions } from '../block/open.js';
import { probeFormat } from '../block/probe.js';
import { defaultDriver } from '../block/registry.js';
import { PERM_ALL, Perm, type WriteFlags, type ZeroFlags } from '../block/types.js';
import type { ByteSource } from '../host/byte-stream.js';
import { RateLimit } from '../host/rate-limit.js';
import { DEFAULT_SPARSE_BYTES } from '../jobs/sparse.js';
import { refuseAborted } from '../util/abort.js';
import { bestEffort } from '../util/best-effort.js';
import { BlockError } from '../util/errors.js';
import { roundUp, SECTOR_BYTES } from '../util/numbers.js';
import { later } from '../util/settle.js';
import { type ImageOpener, openTargetOf } from './open.js';

/** Bytes of one read: a multiple of every cluster. */
const CHUNK_BYTES = 2 << 20;
/**
 * A target with clusters grows by so many bytes at least, and by this share of what it has, while more come: that writes its tables. One that is raw grows by what
 * has come. So a copy that is killed leaves no disk that is longer by far than what is in it.
 */
const LEAST_GROWTH_BYTES = 64 << 20;
const GROWTH_SHARE = 8;

export interface ConvertInPlan {
  source: ByteSource;
  /** The bytes are raw, whatever they look like. Otherwise bytes that look like another format are refused. */
  isRaw: boolean;
  target: string;
  /** Returns the options of the image to be made; null: the target exists. */
  create: ((size: number) => ImageCreateOptions) | null;
  /** Bytes of the new image, where that is to have a certain size. */
  size?: number;
  format?: string;
  fileOptions?: NewFileOptions;
  cache?: OpenOptions['cache'];
  open?: ImageOpener;
  /** As in `ConvertOptions`. */
  sparseSize?: number;
  compress?: boolean;
  fua?: boolean;
  speed?: number;
  signal?: AbortSignal;
  /** `create`: the target is made; `copy`: it is written. */
  onStage?: (stage: 'create' | 'copy') => void;
  /** Bytes that have come. */
  onProgress?: (bytes: number) => void;
}

/**
 * Rejects with `unsupported` for bytes of another format than raw and with `invalid-argument` where none come, before the target is touched, with `no-space` where more come than the target has room for, with
 * `cancelled` after an abort, and with what either side fails with; the target is incomplete then.
 */
export async function streamIntoImage(graph: Graph, plan: ConvertInPlan): Promise<void> {
  const { source, signal } = plan;
  const { memory } = graph.host;
  const stop = (): void => source.stop();
  signal?.addEventListener('abort', stop);
  const chunkBytes = Math.max(CHUNK_BYTES, granuleOf(plan));
  const buffers = [memory.allocate(chunkBytes), memory.allocate(chunkBytes)];
  try {
    const first = await source.read(buffers[0]);
    refuseAborted(signal);
    refuseEmpty(source, first);
    refuseOther(plan, buffers[0].subarray(0, Math.min(first, SECTOR_BYTES)));
    plan.onStage?.('create');
    const node = await openTarget(graph, plan, roundUp(first, SECTOR_BYTES));
    try {
      plan.onStage?.('copy');
      const use = { user: { userName: 'convert' }, role: 'target', shared: PERM_ALL } as const;
      const perm = Perm.CONSISTENT_READ | Perm.WRITE | (plan.create === null ? 0 : Perm.RESIZE);
      await withLink(node, { ...use, perm }, (link) => new Filling(plan, link).run(buffers, first));
    } catch (error) {
      await graph.release(node).catch(bestEffort('closing after a failure'));
      throw error;
    }
    await graph.release(node);
  } catch (error) {
    refuseAborted(signal);
    throw error;
  } finally {
    signal?.removeEventListener('abort', stop);
    for (const buffer of buffers) memory.free(buffer);
  }
}

function granuleOf({ sparseSize = DEFAULT_SPARSE_BYTES }: ConvertInPlan): number {
  return sparseSize === 0 ? 0 : 2 ** Math.floor(Math.log2(Math.max(sparseSize, SECTOR_BYTES)));
}

/** Nothing at all comes from a program that has failed, or from a stream that was closed: an image that is there is not replaced for that. */
function refuseEmpty({ name }: ByteSource, bytes: number): void {
  if (bytes > 0) return;
  throw new BlockError('invalid-argument', `no bytes come from ${name}`, { path: name, operation: 'read' });
}

function refuseOther({ isRaw, source }: ConvertInPlan, head: Uint8Array): void {
  if (isRaw) return;
  const format = probeFormat(head, source.name);
  if (format === defaultDriver('window').name) return;
  throw new BlockError(
    'unsupported',
    `${source.name} has an image of the format '${format}', which cannot be read in order: save it to a file first`,
    { path: source.name, operation: 'open' },
  );
}

async function openTarget(graph: Graph, plan: ConvertInPlan, known: number): Promise<BlockNode> {
  const { target, create, size = known, format, fileOptions, cache, open } = plan;
  const made =
    create === null
      ? null
      : await createImage(graph, target, checkCreateOptions(create(size), target, graph), fileOptions);
  return openTargetOf(graph, null, { image: target, made, open }, { format, cache });
}

class Filling {
  readonly #plan: ConvertInPlan;
  readonly #link: Child;
  readonly #grows: boolean;
  readonly #compress: boolean;
  readonly #isZero: boolean;
  readonly #granule: number;
  readonly #flags: WriteFlags | undefined;
  readonly #zeroFlags: ZeroFlags;

  constructor(plan: ConvertInPlan, link: Child) {
    const { fua, create, size } = plan;
    const compress = plan.compress === true || link.node.compression === 'needed';
    this.#plan = plan;
    this.#compress = compress;
    this.#link = link;
    this.#grows = create !== null && size === undefined && !link.node.fixedSize;
    this.#isZero = create !== null && readsAsZeroes(link.node);
    const step = granuleOf(plan);
    this.#granule = step === 0 ? 0 : Math.max(step, link.node.clusterBytes);
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
    const { source, signal, speed = 0, onProgress } = this.#plan;
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
