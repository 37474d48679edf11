// What one seed is about, for a guest: a file system, an image, and a sequence of requests that are the same for every server.

import { spawnSync } from 'node:child_process';
import { truncateSync, writeFileSync } from 'node:fs';
import { Random } from '../../src/host/sim/random.js';
import type { PlaceKind } from './place.js';

export const SECTOR = 512;
const MIB = 1 << 20;

export type Step =
  | { kind: 'write'; offset: number; length: number; value: number }
  | { kind: 'zero'; offset: number; length: number; noHole: boolean }
  | { kind: 'trim'; offset: number; length: number }
  | { kind: 'flush' }
  /** Another user of the file system takes what is left, or gives it back. */
  | { kind: 'fill' | 'relieve' };

/** How it ends: an orderly end; one with room again before; a flush, and the process is killed. */
export type Ending = 'close' | 'relieve and close' | 'flush and kill';

export interface GuestCase {
  place: PlaceKind;
  placeBytes: number;
  blockSize: number;
  format: 'qcow2' | 'raw';
  clusterSize: number;
  size: number;
  /** How the image is made: new, with its tables laid out, or copied so that each page of zeroes is a hole. */
  image: 'new' | 'metadata' | 'sparse copy';
  /** Requests that are sent at once. */
  depth: number;
  steps: Step[];
  ending: Ending;
}

export function guestCase(seed: number): GuestCase {
  const random = new Random(seed, 30);
  const placeBytes = random.pick([2, 3, 4, 6, 8, 12, 16, 24, 32]) * MIB;
  const clusters = [512, 1024, 2048, 4096, 4096, 16384, 65536, 65536];
  const clusterSize = random.pick(placeBytes >= 16 * MIB ? [...clusters, 2 * MIB] : clusters);
  const size = placeBytes * random.pick([1, 2, 4, 64]);
  const format = random.chance(0.85) ? 'qcow2' : 'raw';
  // Tables for a whole disk of small clusters would fill the file system by themselves.
  const laidOut = format === 'qcow2' && size / clusterSize <= placeBytes / 128;
  return {
    place: random.pick(['ext4', 'ext4', 'tmpfs'] as const),
    placeBytes,
    blockSize: random.pick([1024, 4096]),
    format,
    clusterSize,
    size,
    image: random.pick(laidOut ? (['new', 'metadata', 'sparse copy'] as const) : (['new', 'sparse copy'] as const)),
    depth: random.pick([1, 1, 4, 16]),
    steps: stepsOf(random, placeBytes, size),
    ending: random.pick(['close', 'close', 'relieve and close', 'flush and kill'] as const),
  };
}

function stepsOf(random: Random, placeBytes: number, size: number): Step[] {
  const steps: Step[] = [];
  const largest = random.pick([8, 64, 512]);
  const inOrder = random.chance(0.4);
  const wanted = placeBytes * (1.1 + random.fraction());
  const sectors = size / SECTOR;
  const flushes = random.pick([0, 0.02, 0.1]);
  let next = random.below(sectors);
  let bytes = 0;
  for (let value = 1; bytes < wanted && steps.length < 4000; value++) {
    if (random.chance(flushes)) steps.push({ kind: 'flush' });
    if (random.chance(0.004)) steps.push({ kind: random.chance(0.6) ? 'fill' : 'relieve' });
    const count = Math.min(sectors, random.between(1, largest));
    let first = inOrder ? next : random.below(sectors);
    if (first + count > sectors) first = 0;
    next = first + count;
    const range = { offset: first * SECTOR, length: count * SECTOR };
    const luck = random.fraction();
    if (luck < 0.85) steps.push({ kind: 'write', value, ...range });
    else if (luck < 0.95) steps.push({ kind: 'zero', noHole: random.chance(0.5), ...range });
    else steps.push({ kind: 'trim', ...range });
    if (luck < 0.85) bytes += range.length;
  }
  return steps;
}

/** Makes the image of a case at `path`, in a place with room. */
export function makeImage(test: GuestCase, path: string): void {
  if (test.format === 'raw') {
    writeFileSync(path, '');
    truncateSync(path, test.size);
    return;
  }
  const options = [
    `cluster_size=${test.clusterSize}`,
    ...(test.image === 'metadata' ? ['preallocation=metadata'] : []),
  ];
  const made = spawnSync('qemu-img', ['create', '-q', '-f', 'qcow2', '-o', options.join(','), path, `${test.size}`], {
    encoding: 'utf8',
  });
  if (made.status !== 0) throw new Error(made.stderr);
}

/** What the last bytes of a sector look like that was written with `value`. */
export function pattern(value: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  new Uint32Array(bytes.buffer, bytes.byteOffset, length / 4).fill(value);
  return bytes;
}
