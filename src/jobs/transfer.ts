// Moves a chunk from one node to another: the way of every copy.
//
//   data    the host's step (copy-step.ts), where both sides lie in files; else read, with a zero test on the worker that read, and write
//   zero    written as zeroes, or left out where the target reads so

import { chainStatus } from '../block/chain.js';
import type { Child } from '../block/child.js';
import { firstUnreadable } from '../block/first-unreadable.js';
import type { Extent } from '../block/types.js';
import { toBlockError } from '../util/errors.js';
import type { CopyFault, WriteOrder } from './copy-engine.js';
import { type Chunk, cut, positionIn } from './copy-plan.js';
import { moveChunk, type StepOptions } from './copy-step.js';
import { splitZeroes, zeroExtents } from './zero-map.js';

export interface TransferOptions extends StepOptions {
  /** What is zero: `skip` where the target reads as zeroes already. */
  zeroes: 'write' | 'skip';
  /** Zeroes may be holes on the target. */
  unmap: boolean;
  /**
   * What the target reads as already is not written: it is read and compared in steps of so many bytes, which the extents are multiples of,
   * but for the end of the image. 0 or absent: all is written.
   */
  compareStep?: number;
}

/**
 * Moves a chunk from source to target. `buffer` is taken where no step of the host moves it: a multiple of the target's cluster and of the steps, it
 * may be smaller than the chunk. A fault says on which side it happened; it never rejects.
 */
export async function transfer(
  options: TransferOptions,
  chunk: Chunk,
  buffer: () => Uint8Array,
  order: WriteOrder,
): Promise<CopyFault | null> {
  if (chunk.kind !== 'data') return zeroOut(options, chunk.extents);
  const { zeroStep } = options;
  if (!options.compareStep) {
    const step = await moveChunk(options, chunk, order.passed);
    if (step?.error)
      return step.isRead ? { ...step, guestOffset: await placeOf(options, chunk, buffer(), step.error) } : step;
    if (step !== null) {
      if (!step.map.includes(1)) return null;
      return zeroOut(options, zeroExtents(chunk.extents, step.map, zeroStep), chunk.extents);
    }
  }
  // What is left for the buffer may be more than it holds.
  const room = buffer();
  let at = 0;
  for (const part of cut(chunk, room.length)) {
    const fault = await pass(options, part, room, order);
    if (fault !== null) return { ...fault, at };
    at += part.bytes;
  }
  return null;
}

/** As `CopyFault.guestOffset`, of a read of `chunk` that failed with `error`. */
async function placeOf(
  { source }: TransferOptions,
  { extents }: Chunk,
  buffer: Uint8Array,
  error: unknown,
): Promise<number | undefined> {
  return (await firstUnreadable(source, extents, buffer, error)) ?? undefined;
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
    const guestOffset = await placeOf(options, chunk, data, error);
    return { error: toBlockError(error, { path: source.filename, operation: 'read' }), isRead: true, guestOffset };
  }
  if (options.compareStep) return writeDifferent(options, chunk, data, order);
  await order.myTurn();
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
  await order.myTurn();
  return writeOut(options, extents, rest, map, order);
}

/** 1 for each step in which `a` and `b` are the same. */
export function equalMap(a: Uint8Array, b: Uint8Array, step: number): Uint8Array {
  const map = new Uint8Array(Math.ceil(a.length / step));
  for (let i = 0; i < map.length; i++) {
    const [from, to] = [i * step, Math.min((i + 1) * step, a.length)];
    map[i] = Buffer.compare(a.subarray(from, to), b.subarray(from, to)) === 0 ? 1 : 0;
  }
  return map;
}

/** Makes `extents` zero, a part of those of the chunk, `all`. */
async function zeroOut(
  options: TransferOptions,
  extents: readonly Extent[],
  all: readonly Extent[] = extents,
): Promise<CopyFault | null> {
  if (options.zeroes === 'skip') return null;
  const { target } = options;
  let begun = extents[0].offset;
  try {
    for (const { offset, length } of options.compareStep ? await notZero(target, extents) : extents) {
      begun = offset;
      const { serialised, fua } = options.flags ?? {};
      await target.writeZeroes(offset, length, { mayUnmap: options.unmap, serialised, fua });
    }
    return null;
  } catch (error) {
    const failure = toBlockError(error, { path: target.filename, operation: 'write zeroes' });
    return { error: failure, isRead: false, at: positionIn(all, begun) };
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
