// Do two images read the same? Both chains are resolved to runs of one status first: what is zeroes on both sides is not read, what
// is zeroes on one side is only read on the other.
//
//   chains --status--> chunks --> batch: in files on both sides ---- Host.compare: a worker reads and compares
//                                        else (NBD, compressed, ...) read through the nodes, compared here

import { type ComparePiece, MAX_COMPARE_BYTES } from '../host/host.js';
import { refuseAborted } from '../util/abort.js';
import { atGuestOffset, type BlockError, toBlockError } from '../util/errors.js';
import { SECTOR_BYTES } from '../util/numbers.js';
import { type ChainStatus, chainStatus } from './chain.js';
import { type Child, readingUse, withLink } from './child.js';
import { firstUnreadable } from './first-unreadable.js';
import { addPiece, type LocatedPiece, locatePieces, releaseAll } from './locate-pieces.js';
import type { BlockNode } from './node/node.js';
import type { MappingGuard } from './types.js';
import { firstUntold } from './untold.js';

export interface CompareOptions {
  /** Sizes and block status must be the same too, as `qemu-img compare -s`. */
  strict?: boolean;
  signal?: AbortSignal;
  /** Bytes that are done, all of them, and how many of the first were read; the others are known to be zeroes. */
  onProgress?: (current: number, total: number, compared: number) => void;
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

/** What is read at once where it passes the nodes, and the unit of the offsets of read errors. */
const CHUNK_BYTES = 1 << 20;
/** Chunks of a batch at most. */
const MAX_CHUNKS = 256;
/** Batches. */
const IN_FLIGHT = 6;

/** Rejects with what reading fails with, at the guest's offset, and with `cancelled`. `onFault` is called before that with the image that could not be read. */
export async function compareNodes(
  a: BlockNode,
  b: BlockNode,
  options: CompareOptions = {},
  onFault: (node: BlockNode) => void = () => {},
): Promise<CompareResult> {
  const sizesDiffer = a.length !== b.length;
  if (sizesDiffer && options.strict) return { identical: false, difference: 'size', sizesDiffer };
  const use = readingUse('compare', 'source');
  const found = await withLink(a, use, (left) =>
    withLink(b, use, async (right) => {
      const reader = new Reader(left, right);
      try {
        return await firstDifference(a, b, reader, options);
      } catch (error) {
        if (!(error instanceof SideFault)) throw error;
        onFault(error.node);
        throw error.error;
      } finally {
        await reader.close();
      }
    }),
  );
  if (found === null) return { identical: true, sizesDiffer };
  return { identical: false, ...found, behindEnd: found.offset >= Math.min(a.length, b.length), sizesDiffer };
}

async function firstDifference(
  a: BlockNode,
  b: BlockNode,
  reader: Reader,
  { strict = false, signal, onProgress }: CompareOptions,
): Promise<{ difference: 'content' | 'status'; offset: number } | null> {
  const total = Math.max(a.length, b.length);
  for (let at = 0; at < total; ) {
    refuseAborted(signal);
    let left: ChainStatus;
    let right: ChainStatus;
    try {
      [left, right] = await Promise.all([statusOf(a, at, total - at), statusOf(b, at, total - at)]);
    } catch (error) {
      const earlier = await reader.settle();
      if (earlier >= 0) return { difference: 'content', offset: earlier };
      throw error;
    }
    const end = at + Math.min(left.length, right.length);
    if (strict && flags(left) !== flags(right)) {
      const earlier = await reader.settle();
      return earlier < 0 ? { difference: 'status', offset: at } : { difference: 'content', offset: earlier };
    }
    for (let offset = at; !(left.zero && right.zero) && offset < end; offset += CHUNK_BYTES) {
      const chunk = { offset, length: Math.min(CHUNK_BYTES, end - offset), a: !left.zero, b: !right.zero };
      const found = await reader.add(chunk);
      if (found >= 0) return { difference: 'content', offset: found };
      refuseAborted(signal);
      onProgress?.(reader.oldest ?? offset, total, reader.compared);
    }
    at = end;
    onProgress?.(reader.oldest ?? at, total, reader.compared);
  }
  const found = await reader.settle();
  if (found >= 0) return { difference: 'content', offset: found };
  onProgress?.(total, total, reader.compared);
  return null;
}

/** Behind its end an image reads as zeroes. The two parts of an image are never one run. */
async function statusOf(node: BlockNode, offset: number, length: number): Promise<ChainStatus> {
  if (offset < node.length) return toldStatus(node, offset, Math.min(length, node.length - offset));
  const nothing = { allocated: false, data: false, zero: true, compressed: false };
  return { ...nothing, length, offset: -1, node: null, depth: -1, layer: null };
}

/** What lies before a place without a status is reported, so that it is compared first. */
async function toldStatus(node: BlockNode, offset: number, length: number): Promise<ChainStatus> {
  try {
    return await chainStatus(node, null, offset, length);
  } catch (thrown) {
    const error = toBlockError(thrown, { path: node.filename, operation: 'block status' });
    if (error.code === 'internal') throw error;
    const end = await firstUntold(node, null, offset, length);
    if (end > offset) return toldStatus(node, offset, end - offset);
    throw new SideFault(node, atGuestOffset(error, offset));
  }
}

function flags(status: ChainStatus): string {
  return [status.allocated, status.data, status.zero, status.compressed, status.offset >= 0].join();
}

/** At most `CHUNK_BYTES` of the images. */
interface Chunk {
  offset: number;
  length: number;
  /** Which sides are read; the other one is zeroes. */
  a: boolean;
  b: boolean;
}

/** An image could not be read. */
class SideFault extends Error {
  readonly node: BlockNode;
  readonly error: BlockError;

  constructor(node: BlockNode, error: BlockError) {
    super(error.message);
    this.node = node;
    this.error = error;
  }
}

/** Rejects with a `SideFault`. */
async function read(child: Child, offset: number, buffer: Uint8Array): Promise<void> {
  try {
    await child.read(offset, buffer);
  } catch (thrown) {
    const { node } = child;
    const place = await firstUnreadable(child, [{ offset, length: buffer.length }], buffer, thrown);
    const error = atGuestOffset(toBlockError(thrown, { path: node.filename, operation: 'read' }), place ?? offset);
    throw new SideFault(node, error);
  }
}

/** Chunks that are compared as one. */
interface Batch {
  chunks: Chunk[];
  bytes: number;
}

/** Reads and compares a few batches side by side, and answers in their order. */
class Reader {
  readonly #a: Child;
  readonly #b: Child;
  readonly #buffers: [Uint8Array, Uint8Array][] = [];
  readonly #free: [Uint8Array, Uint8Array][] = [];
  /** What is to be the next batch. */
  #next: Batch = { chunks: [], bytes: 0 };
  readonly #pending: { offset: number; bytes: number; done: Promise<number> }[] = [];
  #compared = 0;

  constructor(a: Child, b: Child) {
    this.#a = a;
    this.#b = b;
  }

  /** Has the chunk compared after those before it. The offset of the first difference where one is known by now, else -1. */
  async add(chunk: Chunk): Promise<number> {
    const { chunks, bytes } = this.#next;
    if (bytes + chunk.length > MAX_COMPARE_BYTES || chunks.length === MAX_CHUNKS) {
      this.#begin();
      const found = await this.#settleTo(IN_FLIGHT - 1);
      if (found >= 0) return found;
    }
    this.#next.chunks.push(chunk);
    this.#next.bytes += chunk.length;
    return -1;
  }

  /** Where the first chunk begins that is not compared yet; undefined where all are. */
  get oldest(): number | undefined {
    return this.#pending[0]?.offset ?? this.#next.chunks[0]?.offset;
  }

  /** Bytes that were compared, in their order. */
  get compared(): number {
    return this.#compared;
  }

  /** Waits for all that was added. The offset of the first difference, -1 where there is none. */
  settle(): Promise<number> {
    if (this.#next.bytes > 0) this.#begin();
    return this.#settleTo(0);
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.#pending.map(({ done }) => done));
    for (const buffer of this.#buffers.flat()) this.#a.node.host.memory.free(buffer);
  }

  #begin(): void {
    const { chunks, bytes } = this.#next;
    this.#next = { chunks: [], bytes: 0 };
    const done = this.#compare(chunks, bytes);
    // Looked at in its turn, or not at all after an earlier difference.
    done.catch(() => undefined);
    this.#pending.push({ offset: chunks[0].offset, bytes, done });
  }

  /** Waits, oldest first, until at most `left` batches are under way. */
  async #settleTo(left: number): Promise<number> {
    while (this.#pending.length > left) {
      const [{ bytes, done }] = this.#pending;
      const offset = await done;
      this.#pending.shift();
      if (offset >= 0) return offset;
      this.#compared += bytes;
    }
    return -1;
  }

  /** Offset of the sector in which the sides differ first, -1 if nowhere. Rejects with a `SideFault`. */
  async #compare(chunks: readonly Chunk[], bytes: number): Promise<number> {
    const found = await this.#compareFiles(chunks, bytes);
    if (found !== null) return found;
    const buffers = this.#free.pop() ?? this.#allocate();
    try {
      for (const chunk of chunks) {
        const offset = await this.#compareChunk(chunk, buffers);
        if (offset >= 0) return offset;
      }
      return -1;
    } finally {
      this.#free.push(buffers);
    }
  }

  /** The same by the host's step; null where not all of it lies in files. */
  async #compareFiles(chunks: readonly Chunk[], bytes: number): Promise<number | null> {
    const guards: MappingGuard[] = [];
    try {
      const a = locateSide(this.#a, chunks, 'a', guards);
      const b = a && locateSide(this.#b, chunks, 'b', guards);
      if (a === null || b === null) return null;
      const pieces = pair(a, b);
      const { difference, fault } = await this.#a.node.host.compare({ pieces, bytes });
      if (fault !== null) {
        const { node } = fault.side === 'a' ? this.#a : this.#b;
        throw new SideFault(node, atGuestOffset(fault.error, chunkAt(chunks, fault.at).chunk.offset));
      }
      if (difference < 0) return -1;
      const { chunk, within } = chunkAt(chunks, difference);
      return sectorAt(chunk, within);
    } finally {
      releaseAll(guards);
    }
  }

  #allocate(): [Uint8Array, Uint8Array] {
    const { memory } = this.#a.node.host;
    const buffers: [Uint8Array, Uint8Array] = [memory.allocate(CHUNK_BYTES), memory.allocate(CHUNK_BYTES)];
    this.#buffers.push(buffers);
    return buffers;
  }

  async #compareChunk(chunk: Chunk, buffers: [Uint8Array, Uint8Array]): Promise<number> {
    const { offset, length, a, b } = chunk;
    const { memory } = this.#a.node.host;
    const [left, right] = buffers.map((buffer) => buffer.subarray(0, length));
    const reads = [a ? read(this.#a, offset, left) : undefined, b ? read(this.#b, offset, right) : undefined];
    // Both must have ended before the buffers are used again, also where one fails.
    await Promise.allSettled(reads);
    await Promise.all(reads);
    let index: number;
    if (a && b) {
      index = memory.firstDifference(left, right);
    } else {
      const side = a ? left : right;
      index = memory.isZero(side) ? -1 : side.findIndex((byte) => byte !== 0);
    }
    return index < 0 ? -1 : sectorAt(chunk, index);
  }
}

/** Where one side of the chunks lies in files; null where that cannot be said. */
function locateSide(
  child: Child,
  chunks: readonly Chunk[],
  side: 'a' | 'b',
  guards: MappingGuard[],
): LocatedPiece[] | null {
  const pieces: LocatedPiece[] = [];
  for (const chunk of chunks) {
    if (!chunk[side]) addPiece(pieces, { file: null, offset: 0, length: chunk.length, packing: null });
    else if (!locatePieces(child, chunk, pieces, guards, false)) return null;
  }
  return pieces;
}

/** The pieces of both sides, which are as long, cut where either of them ends. */
function pair(a: readonly LocatedPiece[], b: readonly LocatedPiece[]): ComparePiece[] {
  const pieces: ComparePiece[] = [];
  let [i, j] = [0, 0];
  // What of the two pieces is done.
  let [left, right] = [0, 0];
  while (i < a.length) {
    const length = Math.min(a[i].length - left, b[j].length - right);
    pieces.push({ a: a[i].file, aOffset: a[i].offset + left, b: b[j].file, bOffset: b[j].offset + right, length });
    left += length;
    right += length;
    if (left === a[i].length) [i, left] = [i + 1, 0];
    if (right === b[j].length) [j, right] = [j + 1, 0];
  }
  return pieces;
}

/** The chunk of the byte `at`, counted over all chunks, and where it lies in it. */
function chunkAt(chunks: readonly Chunk[], at: number): { chunk: Chunk; within: number } {
  let within = at;
  let i = 0;
  while (within >= chunks[i].length) within -= chunks[i++].length;
  return { chunk: chunks[i], within };
}

function sectorAt({ offset }: Chunk, index: number): number {
  return offset + Math.floor(index / SECTOR_BYTES) * SECTOR_BYTES;
}
