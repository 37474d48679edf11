// Compact of an image of 512 MiB whose lower half was discarded: the upper half moves down. Beside it, a copy of as many bytes within one file by dd, which flushes
// once: compact is bounded by that, and flushes three times for each 8 MiB.

import { execFileSync } from 'node:child_process';
import { copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type DataSet, once, prng, SEED } from '../lib/data.js';
import { type Case, command } from '../lib/measure.js';

const MIB = 1 << 20;
const DISK = 512 * MIB;

/** A disk of noise, of which the lower half is discarded. */
function halfEmpty(path: string): void {
  const random = prng(SEED + 21);
  const noise = new Uint32Array((16 * MIB) / 4).map(() => random());
  const pattern = `${path}.noise`;
  writeFileSync(pattern, new Uint8Array(noise.buffer));
  execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', path, `${DISK}`]);
  const words = [
    '-f',
    'qcow2',
    '-t',
    'unsafe',
    '-c',
    `write -q -s ${pattern} 0 ${DISK}`,
    '-c',
    `discard 0 ${DISK / 2}`,
  ];
  execFileSync('qemu-io', [...words, path], { stdio: 'ignore' });
}

export function compactCases(data: DataSet, ours: readonly string[]): Case[] {
  const origin = once(join(data.folder, 'half-empty.qcow2'), halfEmpty);
  const work = join(data.folder, 'compacted.qcow2');
  const flat = join(data.folder, 'moved.raw');
  const fresh = (target: string, words: readonly string[]) => (): readonly string[] => {
    copyFileSync(origin, target);
    return words;
  };
  const half = `${DISK / 2 / MIB}`;
  const copy = ['dd', `if=${flat}`, `of=${flat}`, 'bs=1M', `skip=${half}`, `count=${half}`, 'conv=notrunc,fsync'];
  const one = (name: string, more: readonly string[]): Case => ({
    name: `compact.${name}`,
    bytes: DISK / 2,
    ours: {
      name: 'diskwright',
      run: command(data.folder, fresh(work, [...ours, 'compact', '-q', ...more, work])),
    },
    peers: [{ name: 'dd', run: command(data.folder, fresh(flat, copy)) }],
  });
  return [one('move', ['--keep-zeroes']), one('search', [])];
}
