// Large tables, whole commands: check, map and a walk over 1 TiB of clusters that are all allocated, and internal snapshots of 64 GiB of them. The images have
// their tables, but no content, so that they take 170 MiB and 11 MiB.
//
//   1TiB         16 million clusters, one after the other in the file
//   scattered    the same in pieces of 16 clusters, anywhere in the file
//   64GiB        one million clusters, one after the other

import { execFileSync } from 'node:child_process';
import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type DataSet, once, prng, SEED } from '../lib/data.js';
import { type Case, type Contender, cleanEnvironment, command } from '../lib/measure.js';

const WALK = fileURLToPath(new URL('../worker/walk.mjs', import.meta.url));
const QEMU = ['qemu-img'];
const CLUSTER = 65536;
const PIECE_ENTRIES = 16;
const OFFSET = 0x00ff_ffff_ffff_fe00n;

function preallocated(path: string, size: string): void {
  execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', '-o', 'preallocation=metadata', path, size]);
}

/** Exchanges pieces of the L2 tables of an image in which all entries are in use. */
function scatter(path: string): void {
  const fd = openSync(path, 'r+');
  const header = Buffer.alloc(48);
  readSync(fd, header, 0, header.length, 0);
  const l1 = Buffer.alloc(header.readUInt32BE(36) * 8);
  readSync(fd, l1, 0, l1.length, Number(header.readBigUInt64BE(40)));
  const places = Array.from({ length: l1.length / 8 }, (_, i) => Number(l1.readBigUInt64BE(i * 8) & OFFSET));
  const tables = new BigUint64Array((places.length * CLUSTER) / 8);
  const bytes = new Uint8Array(tables.buffer);
  for (const [i, place] of places.entries()) readSync(fd, bytes, i * CLUSTER, CLUSTER, place);
  const random = prng(SEED + 20);
  const piece = new BigUint64Array(PIECE_ENTRIES);
  for (let last = tables.length / PIECE_ENTRIES - 1; last > 0; last--) {
    const at = last * PIECE_ENTRIES;
    const other = (random() % (last + 1)) * PIECE_ENTRIES;
    piece.set(tables.subarray(at, at + PIECE_ENTRIES));
    tables.copyWithin(at, other, other + PIECE_ENTRIES);
    tables.set(piece, other);
  }
  for (const [i, place] of places.entries()) writeSync(fd, bytes, i * CLUSTER, CLUSTER, place);
  closeSync(fd);
}

export function tableCases(data: DataSet, ours: readonly string[]): Case[] {
  const file = (name: string) => join(data.folder, name);
  const whole = once(file('tables.qcow2'), (path) => preallocated(path, '1T'));
  const scattered = once(file('scattered.qcow2'), (path) => {
    preallocated(path, '1T');
    scatter(path);
  });
  const base = once(file('tables64.qcow2'), (path) => preallocated(path, '64G'));
  const walk = [...ours.slice(0, -1), WALK];

  /** The same words for both, or other ones for qemu-img. */
  const both = (name: string, words: string[], theirs: string[] = words, program: readonly string[] = ours): Case => ({
    name: `tables.${name}`,
    bytes: 0,
    aim: 1,
    ours: { name: 'diskwright', run: command(data.folder, [...program, ...words]) },
    peers: [{ name: 'qemu-img', run: command(data.folder, [...QEMU, ...theirs]) }],
  });

  const work = file('snapshot.qcow2');
  const run = (program: readonly string[], words: readonly string[]) =>
    execFileSync(program[0], [...program.slice(1), ...words], { env: cleanEnvironment(), stdio: 'ignore' });
  /** On a copy of its own each time; `before`: what the same program does to it first. What was written before is on the disk. */
  const change = (name: string, words: string[], before: readonly string[] = []): Case => {
    const contender = (title: string, program: readonly string[]): Contender => ({
      name: title,
      prepare: () => {
        run(['cp', '--sparse=always'], [base, work]);
        if (before.length > 0) run(program, before);
        run(['sync'], [work]);
      },
      run: command(data.folder, [...program, ...words]),
    });
    const peers = [contender('qemu-img', QEMU)];
    return { name: `tables.64GiB.snapshot.${name}`, bytes: 0, aim: 1, ours: contender('diskwright', ours), peers };
  };
  const create = ['snapshot', '-c', 'one', work];
  return [
    both('1TiB.check', ['check', whole]),
    both('1TiB.map', ['map', '--output=json', whole]),
    both('1TiB.walk', [whole], ['measure', '-O', 'qcow2', whole], walk),
    both('scattered.check', ['check', scattered]),
    change('create', create),
    change('apply', ['snapshot', '-a', 'one', work], create),
    change('delete', ['snapshot', '-d', 'one', work], create),
  ];
}
