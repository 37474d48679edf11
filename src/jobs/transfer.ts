// Moves a chunk from one node to another: the way of every copy.
//
//   data    the host's step (copy-step.ts), where both sides lie in files; else read, with a zero test on the worker that read, and write
//   zero    written as zeroes, or left out where the target reads so

import { chainStatus } from '../block/chain.js';
import type { Child } from '../block/child.js';
import type { Extent, WriteFlags } from '../block/types.js';
import { toBlockError } from '../util/errors.js';
import type { CopyFault, WriteOrder } from './copy-engine.js';
import type { Chunk } from './copy-plan.js';
import { moveChunk } from './copy-step.js';
import { splitZeroes, zeroExtents } from './zero-map.js';

export interface TransferOptions {
  source: Child;
  target: Child;
  /** Step of the zero test, bytes; 0 = none. The extents are multiples of it, but for the end of the image. */
  zeroStep: number;
  /** What is zero: `skip` where the target reads as zeroes already. */
  zeroes: 'write' | 'skip';
  /** Zeroes may be holes on the target. */
  unmap: boolean;
  flags?: WriteFlags;
  /**
   * What the target reads as already is not written: it is read and compared in steps of so many bytes, which the extents are multiples of,
   * but for the end of the image. 0 or absent: all is written.
   */
  compareStep?: number;
}

/**
 * Moves a chunk from source to target; `buffer`, a multiple of the target's cluster and of the steps, may be smaller. A fault says on which side it
 * happened; it never rejects.
 */
export async function transfer(
  options: TransferOptions,
  chunk: Chunk,
  buffer: Uint8Array,
  order: WriteOrder,
): Promise<CopyFault | null> {
  if (chunk.kind !== 'data') return zeroOut(options, chunk.extents);
  const { zeroStep } = options;
  if (!options.compareStep) {
    const step = await moveChunk(options, chunk, order.passed);
    if (step?.error) return step;
    if (step !== null) {
      return step.map.includes(1) ? zeroOut(options, zeroExtents(chunk.extents, step.map, zeroStep)) : null;
    }
  }
  // What is left for the buffer may be more than it holds.
  for (const part of cut(chunk, buffer.length)) {
    const fault = await pass(options, part, buffer, order);
    if (fault !== null) return fault;
  }
  return null;
}

/** The chunk in parts of `most` bytes at most. */
function cut(chunk: Chunk, most: number): Chunk[] {
  if (chunk.bytes <= most) return [chunk];
  const parts: Chunk[] = [];
  let part: Chunk = { kind: chunk.kind, extents: [], bytes: 0 };
  for (const { offset, length } of chunk.extents) {
    for (let done = 0; done < length; ) {
      const here = Math.min(length - done, most - part.bytes);
      part.extents.push({ offset: offset + done, length: here });
      part.bytes += here;
      done += here;
      if (part.bytes < most) continue;
      parts.push(part);
      part = { kind: chunk.kind, extents: [], bytes: 0 };
    }
  }
  if (part.bytes > 0) parts.push(part);
  return parts;
}

/** Reads a part into the buffer, and writes it. */
async function pass(
  options: TransferOptions,
  chunk: Chunk,
  buffer: Uint8Array,
  order: WriteOrder,
): Promise<CopyFault | null> {
  const { source, zeroStep } = options;
  const data = buffer.subarray(0, chunk.bytes);
  const scan =
    zeroStep > 0 && !options.compareStep
      ? { granule: zeroStep, map: new Uint8Array(Math.ceil(chunk.bytes / zeroStep)) }
      : undefined;
  try {
    await source.readExtents(chunk.extents, data, scan);
  } catch (error) {
    return { error: toBlockError(error, { path: source.filename, operation: 'read' }), isRead: true };
  }
  if (options.compareStep) return writeDifferent(options, chunk, data, order);
  await order.mine();
  return writeOut(options, chunk.extents, data, scan?.map ?? null, order);
}

/** Writes what the target does not read as. */
async function writeDifferent(
  options: TransferOptions,
  chunk: Chunk,
  data: Uint8Array,
  order: WriteOrder,
): Promise<CopyFault | null> {
  const { source, target, zeroStep, compareStep = 0 } = options;
  const { memory } = source.node.host;
  let extents: Extent[];
  let bytes: number;
  const there = memory.allocate(chunk.bytes);
  try {
    await target.readExtents(chunk.extents, there);
    const split = splitZeroes(chunk.extents, data, equalMap(data, there, compareStep), compareStep);
    extents = split.data;
    bytes = split.bytes;
  } catch (error) {
    return { error: toBlockError(error, { path: target.filename, operation: 'read' }), isRead: false };
  } finally {
    memory.free(there);
  }
  if (bytes === 0) return null;
  const rest = data.subarray(0, bytes);
  const map = zeroStep > 0 ? new Uint8Array(Math.ceil(bytes / zeroStep)) : null;
  if (map !== null) memory.zeroMap(rest, zeroStep, map);
  await order.mine();
  return writeOut(options, extents, rest, map, order);
}

/** 1 for each step in which `a` and `b` are the same. */
function equalMap(a: Uint8Array, b: Uint8Array, step: number): Uint8Array {
  const map = new Uint8Array(Math.ceil(a.length / step));
  for (let i = 0; i < map.length; i++) {
    const [from, to] = [i * step, Math.min((i + 1) * step, a.length)];
    map[i] = Buffer.compare(a.subarray(from, to), b.subarray(from, to)) === 0 ? 1 : 0;
  }
  return map;
}

async function zeroOut(options: TransferOptions, extents: readonly Extent[]): Promise<CopyFault | null> {
  if (options.zeroes === 'skip') return null;
  const { target } = options;
  try {
    for (const { offset, length } of options.compareStep ? await notZero(target, extents) : extents) {
      await target.writeZeroes(offset, length, { mayUnmap: options.unmap, serialised: options.flags?.serialised });
    }
    return null;
  } catch (error) {
    return { error: toBlockError(error, { path: target.filename, operation: 'write zeroes' }), isRead: false };
  }
}

/** The parts of `extents` of which the target does not know that they are zero. */
async function notZero({ node }: Child, extents: readonly Extent[]): Promise<Extent[]> {
  const parts: Extent[] = [];
  for (const { offset, length } of extents) {
    for (let at = offset; at < offset + length; ) {
      const status = await chainStatus(node, null, at, offset + length - at);
      if (!status.zero) parts.push({ offset: at, length: status.length });
      at += status.length;
    }
  }
  return parts;
}

async function writeOut(
  options: TransferOptions,
  extents: readonly Extent[],
  data: Uint8Array,
  map: Uint8Array | null,
  order: WriteOrder,
): Promise<CopyFault | null> {
  const { target } = options;
  const split = map === null || !map.includes(1) ? null : splitZeroes(extents, data, map, options.zeroStep);
  try {
    let written: Promise<void> | null = null;
    if (split === null) written = target.writeExtents(extents, data, options.flags);
    else if (split.bytes > 0) written = target.writeExtents(split.data, data.subarray(0, split.bytes), options.flags);
    order.passed();
    await written;
  } catch (error) {
    return { error: toBlockError(error, { path: target.filename, operation: 'write' }), isRead: false };
  }
  return split === null ? null : zeroOut(options, split.zero);
}
