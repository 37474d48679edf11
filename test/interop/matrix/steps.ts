// Random changes of a disk, and what they make of a plain buffer.

import type { Random } from '../../../src/host/sim/index.js';
import type { ImageShape } from './shape.js';

const SECTOR = 512;

export interface Step {
  kind: 'write' | 'zero' | 'unmap' | 'compressed';
  offset: number;
  length: number;
  /** Each byte of what is written. */
  value: number;
}

export function drawSteps(random: Random, shape: ImageShape, count: number): Step[] {
  return Array.from({ length: count }, () => drawStep(random, shape));
}

function drawStep(random: Random, { size, clusterBytes, compression }: ImageShape): Step {
  const kinds = ['write', 'write', 'write', 'zero', 'unmap'] as const;
  const kind = compression !== 'none' && random.chance(0.3) ? 'compressed' : random.pick(kinds);
  if (kind === 'compressed') {
    const clusters = Math.floor(size / clusterBytes);
    return { kind, offset: random.below(clusters) * clusterBytes, length: clusterBytes, value: random.between(1, 250) };
  }
  const sectors = Math.ceil(size / SECTOR);
  const offset = random.below(sectors) * SECTOR;
  const length = random.between(1, random.pick([1, 8, (3 * clusterBytes) / SECTOR])) * SECTOR;
  return {
    kind,
    offset,
    length: Math.min(length, size - offset),
    value: kind === 'write' ? random.between(1, 250) : 0,
  };
}

/** QEMU compresses no cluster that has a place already: those are written as they are. `used` has the clusters that have one, and gets the new ones. */
export function withoutRewrites(steps: readonly Step[], clusterBytes: number, used: Set<number>): Step[] {
  return steps.map((step) => {
    const touched = touchedBy([step], clusterBytes);
    const again = [...touched].some((cluster) => used.has(cluster));
    for (const cluster of touched) used.add(cluster);
    return again && step.kind === 'compressed' ? { ...step, kind: 'write' } : step;
  });
}

export function applySteps(content: Buffer, steps: readonly Step[]): void {
  for (const { offset, length, value } of steps) content.fill(value, offset, offset + length);
}

/** Which granules of a bitmap the steps touch. */
export function touchedBy(steps: readonly Step[], granularity: number): Set<number> {
  const touched = new Set<number>();
  for (const { offset, length } of steps) {
    for (let at = Math.floor(offset / granularity); at * granularity < offset + length; at++) touched.add(at);
  }
  return touched;
}
