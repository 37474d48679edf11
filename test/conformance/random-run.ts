// Random requests, one after the other, against a plain array of bytes.

import { expect } from 'chai';
import type { BlockNode } from '../../src/block/node/node.js';
import { Random } from '../../src/host/sim/index.js';
import { expectSame } from './checks.js';
import { codeOf } from './entry.js';

/** Offsets and lengths that meet edges more often than chance would. */
export function randomRange(random: Random, size: number, unit: number): { offset: number; length: number } {
  const edge = random.chance(0.4) ? random.pick([512, Math.max(512, unit)]) : 1;
  const near = Math.floor(random.below(size) / edge) * edge + (random.chance(0.2) ? random.between(-1, 1) : 0);
  const offset = Math.min(size - 1, Math.max(0, near));
  const wish = random.pick([1, 3, 511, 512, 513, 4096, unit, 2 * unit + 1, 70_000, random.between(1, size)]);
  return { offset, length: Math.min(wish, size - offset) };
}

export interface RandomRunOptions {
  seed: number;
  steps: number;
  /** Cluster size, or another unit that requests like to meet. */
  unit: number;
  /** Changes it once it is done. */
  keeps: boolean;
  compressed: number;
}

/** Changes `node` and `model` alike; reads what it changed and more. */
export async function randomRun(node: BlockNode, model: Uint8Array, options: RandomRunOptions): Promise<void> {
  const random = new Random(options.seed, 5);
  for (let step = 0; step < options.steps; step++) {
    const { offset, length } = randomRange(random, node.length, options.unit);
    const expected = model.subarray(offset, offset + length);
    const kind = random.below(12);
    const what = `seed ${options.seed}, step ${step}, kind ${kind}, ${offset}+${length}`;
    if (kind < 5) {
      const bytes = randomBytes(random, length);
      await node.write(offset, bytes, { fua: random.chance(0.1) });
      if (options.keeps) expected.set(bytes);
    } else if (kind < 7) {
      await zero(node, random, offset, expected, what);
    } else if (kind === 7) {
      await discard(node, offset, expected, what);
    } else if (kind === 8) {
      await scatter(node, model, random, options);
    } else if (kind === 9 && options.compressed > 0) {
      await compress(node, model, random, options.compressed);
    } else if (kind === 10) {
      await node.flush();
    }
    const found = Buffer.alloc(length, 0xee);
    await node.read(offset, found);
    expectSame(found, expected, what);
  }
}

function randomBytes(random: Random, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  if (random.chance(0.15)) return bytes;
  if (random.chance(0.3)) return bytes.fill(random.between(1, 255));
  random.fill(bytes);
  return bytes;
}

async function zero(node: BlockNode, random: Random, offset: number, expected: Uint8Array, what: string) {
  const noFallback = random.chance(0.3);
  const code = await codeOf(node.writeZeroes(offset, expected.length, { mayUnmap: random.chance(0.5), noFallback }));
  expect(code, what).to.be.oneOf(noFallback ? ['resolved', 'unsupported'] : ['resolved']);
  if (code === 'resolved') expected.fill(0);
  else await adopt(node, offset, expected, what);
}

async function discard(node: BlockNode, offset: number, expected: Uint8Array, what: string): Promise<void> {
  await node.discard(offset, expected.length);
  await adopt(node, offset, expected, what);
}

/** Part of the range may have become zeroes: each byte is what it was, or zero. */
async function adopt(node: BlockNode, offset: number, expected: Uint8Array, what: string): Promise<void> {
  const found = Buffer.alloc(expected.length, 0xee);
  await node.read(offset, found);
  let strange = -1;
  // A callback a byte would cost ten times as much.
  for (let i = 0; i < found.length && strange < 0; i++) if (found[i] !== 0 && found[i] !== expected[i]) strange = i;
  expect(strange, `${what}: neither old nor zero`).to.equal(-1);
  expected.set(found);
}

/** Several extents in one request, written and read. */
async function scatter(node: BlockNode, model: Uint8Array, random: Random, { keeps, unit }: RandomRunOptions) {
  const extents: { offset: number; length: number }[] = [];
  let total = 0;
  for (let at = random.below(node.length); at < node.length && extents.length < 8; ) {
    const length = Math.min(node.length - at, random.pick([1, 512, unit, random.between(1, 3000)]));
    extents.push({ offset: at, length });
    total += length;
    at += length + random.pick([0, 1, 512, unit]);
  }
  const bytes = new Uint8Array(total);
  random.fill(bytes);
  await node.writeExtents(extents, bytes);
  if (!keeps) bytes.fill(0);
  let from = 0;
  for (const { offset, length } of extents) {
    model.set(bytes.subarray(from, from + length), offset);
    from += length;
  }
  const found = Buffer.alloc(total, 0xee);
  await node.readExtents(extents, found);
  expectSame(found, bytes, 'extents');
}

async function compress(node: BlockNode, model: Uint8Array, random: Random, clusterSize: number): Promise<void> {
  const first = random.below(Math.ceil(node.length / clusterSize)) * clusterSize;
  const end = Math.min(node.length, first + random.between(1, 3) * clusterSize);
  const bytes = randomBytes(random, end - first);
  await node.write(first, bytes, { compressed: true });
  model.set(bytes, first);
}
