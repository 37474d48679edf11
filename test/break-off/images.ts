// The images that the operations begin with, made by QEMU's tools.

import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { ImageName } from '../../src/index.js';
import { run } from '../support/cli.js';

/** `--object` of what opens the encrypted images. */
export const SECRET = 'secret,id=s,data=one';
/** The same of another password. */
export const OTHER_SECRET = 'secret,id=t,data=two';

export function tool(folder: string, program: string, ...words: string[]): void {
  execFileSync(program, words, { cwd: folder, stdio: ['ignore', 'ignore', 'inherit'] });
}

/** A disk of 4 MiB with data here and there. */
export function disk(
  folder: string,
  name: string,
  options = 'cluster_size=16k',
  backing: readonly string[] = [],
): void {
  tool(folder, 'qemu-img', 'create', '-q', '-f', 'qcow2', '-o', options, ...backing, name, '4M');
}

export function write(folder: string, name: string, ...commands: string[]): void {
  tool(folder, 'qemu-io', '-f', 'qcow2', ...commands.flatMap((command) => ['-c', command]), name);
}

export const WRITES = [
  'write -q -P 1 0 200k',
  'write -q -P 2 1M 100k',
  'write -q -P 3 3000k 300k',
  'write -q -z 1500k 64k',
];
export const MORE = ['write -q -P 7 100k 150k', 'write -q -P 8 2M 60k', 'write -q -P 9 3100k 20k'];

export function oneDisk(folder: string): void {
  disk(folder, 'disk');
  write(folder, 'disk', ...WRITES);
}

export function chain(folder: string): void {
  oneDisk(folder);
  disk(folder, 'top', 'cluster_size=16k', ['-b', 'disk', '-F', 'qcow2']);
  write(folder, 'top', ...MORE);
}

/** An overlay with a bitmap, and another image that could be its backing file. */
export function towardsAnother(folder: string): void {
  chain(folder);
  tool(folder, 'qemu-img', 'bitmap', '--add', '-g', '64k', 'top', 'bits');
  disk(folder, 'other', 'cluster_size=4k');
  write(folder, 'other', 'write -q -P 1 0 50k', 'write -q -P 5 1M 100k');
}

/** An overlay of an overlay. */
export function longChain(folder: string): void {
  chain(folder);
  disk(folder, 'topmost', 'cluster_size=16k', ['-b', 'top', '-F', 'qcow2']);
  write(folder, 'topmost', 'write -q -P 11 50k 90k', 'write -q -P 12 2200k 60k');
}

/** An overlay that is longer than its backing file. */
export function overSmaller(folder: string): void {
  tool(folder, 'qemu-img', 'create', '-q', '-f', 'qcow2', '-o', 'cluster_size=4k', 'disk', '2M');
  write(folder, 'disk', 'write -q -P 1 0 200k', 'write -q -P 2 1M 100k');
  disk(folder, 'top', 'cluster_size=16k', ['-b', 'disk', '-F', 'qcow2']);
  write(folder, 'top', ...MORE);
}

/** An overlay, and a raw file that is shorter and could be its backing file. */
export function towardsSmaller(folder: string): void {
  chain(folder);
  tool(folder, 'qemu-img', 'convert', '-O', 'raw', 'disk', 'long.raw');
  tool(folder, 'dd', 'if=long.raw', 'of=small.raw', 'bs=1k', 'count=1111', 'status=none');
}

/** A disk, and another one of the same size. */
export function twoDisks(folder: string): void {
  oneDisk(folder);
  disk(folder, 'there', 'cluster_size=4k');
  write(folder, 'there', ...MORE);
}

export function withSnapshot(folder: string): void {
  oneDisk(folder);
  tool(folder, 'qemu-img', 'snapshot', '-c', 'first', 'disk');
  write(folder, 'disk', ...MORE);
}

/** A disk with two bitmaps; `one` has recorded some writes. */
export function withBitmaps(folder: string): void {
  oneDisk(folder);
  tool(folder, 'qemu-img', 'bitmap', '--add', '-g', '4k', 'disk', 'one');
  write(folder, 'disk', ...MORE);
  tool(folder, 'qemu-img', 'bitmap', '--add', '-g', '64k', 'disk', 'two');
}

/** Two disks, each with a bitmap. */
export function withBitmapElsewhere(folder: string): void {
  withBitmaps(folder);
  disk(folder, 'there', 'cluster_size=4k');
  tool(folder, 'qemu-img', 'bitmap', '--add', '-g', '4k', 'there', 'theirs');
  write(folder, 'there', ...MORE);
}

/** A small disk with the smallest clusters, whose refcount table is full at 2 MiB. */
export function withFullTables(folder: string): void {
  tool(folder, 'qemu-img', 'create', '-q', '-f', 'qcow2', '-o', 'cluster_size=512,refcount_bits=64', 'disk', '1M');
  write(folder, 'disk', 'write -q -P 1 0 200k', 'write -q -P 2 500k 100k');
}

const ZERO_REFCOUNTS = `
  const fs = require('fs');
  const fd = fs.openSync(process.argv[1], 'r+');
  const entry = (at) => { const b = Buffer.alloc(8); fs.readSync(fd, b, 0, 8, at); return Number(b.readBigUInt64BE()); };
  fs.writeSync(fd, Buffer.alloc(4096), 0, 4096, entry(entry(48)));`;

/** A disk whose refcounts are all wrong: the block that counts them is zero. */
export function withoutRefcounts(folder: string): void {
  oneDisk(folder);
  tool(folder, process.execPath, '-e', ZERO_REFCOUNTS, join(folder, 'disk'));
}

const RAISE_REFCOUNTS = `
  const fs = require('fs');
  const fd = fs.openSync(process.argv[1], 'r+');
  const entry = (at) => { const b = Buffer.alloc(8); fs.readSync(fd, b, 0, 8, at); return Number(b.readBigUInt64BE()); };
  fs.ftruncateSync(fd, 100 * 16384);
  fs.writeSync(fd, Buffer.alloc(40, Uint8Array.of(0, 2)), 0, 40, entry(entry(48)) + 2 * 70);`;

/** A disk with clusters that nothing refers to. */
export function withLeaks(folder: string): void {
  oneDisk(folder);
  tool(folder, process.execPath, '-e', RAISE_REFCOUNTS, join(folder, 'disk'));
}

const BREAK_REFCOUNT_TABLE = `
  const fs = require('fs');
  const fd = fs.openSync(process.argv[1], 'r+');
  const b = Buffer.alloc(8); fs.readSync(fd, b, 0, 8, 48);
  fs.writeSync(fd, Buffer.from('00000000000123ff', 'hex'), 0, 8, Number(b.readBigUInt64BE()));`;

/** A disk with a snapshot, whose refcounts cannot be found. */
export function withoutRefcountBlocks(folder: string): void {
  withSnapshot(folder);
  tool(folder, process.execPath, '-e', BREAK_REFCOUNT_TABLE, join(folder, 'disk'));
}

/** A disk, a snapshot and a bitmap with free places between what they hold. */
export function withHoles(folder: string): void {
  oneDisk(folder);
  tool(folder, 'qemu-img', 'bitmap', '--add', 'disk', 'bits');
  tool(folder, 'qemu-img', 'snapshot', '-c', 'first', 'disk');
  write(folder, 'disk', ...MORE, 'discard 0 600k', 'write -q -c -P 6 3600k 64k');
  tool(folder, 'qemu-img', 'snapshot', '-c', 'second', 'disk');
  tool(folder, 'qemu-img', 'snapshot', '-d', 'first', 'disk');
}

/** A disk with extended L2 entries and a snapshot, of which the disk shares tables. */
export function withSubclusters(folder: string): void {
  disk(folder, 'disk', 'cluster_size=16k,extended_l2=on');
  write(folder, 'disk', ...WRITES, 'write -q -c -P 6 3600k 64k');
  tool(folder, 'qemu-img', 'snapshot', '-c', 'first', 'disk');
  write(folder, 'disk', ...MORE, 'write -q -z 512k 9k', 'discard 2M 30k');
}

/** A snapshot and the disk share zero clusters over a backing file. */
export function withSharedZeroes(folder: string): void {
  chain(folder);
  write(folder, 'top', 'write -q -z 600k 64k');
  tool(folder, 'qemu-img', 'snapshot', '-c', 'first', 'top');
  write(folder, 'top', 'write -q -z 2M 32k', 'write -q -P 5 620k 20k');
}

/** A disk whose content lies in a file of its own, with two bitmaps. */
export function withDataFile(folder: string): void {
  disk(folder, 'disk', 'cluster_size=16k,data_file=data');
  write(folder, 'disk', ...WRITES);
  tool(folder, 'qemu-img', 'bitmap', '--add', '-g', '4k', 'disk', 'one');
  write(folder, 'disk', ...MORE);
  tool(folder, 'qemu-img', 'bitmap', '--add', '-g', '64k', 'disk', 'two');
}

/** Makes the encrypted image `disk`, with some data. `image`: its name for options. */
function makeEncrypted(folder: string, format: 'qcow2' | 'luks', options: string, image: string): void {
  const create = ['create', '-q', '--object', SECRET, '-f', format, '-o', options, 'disk', '4M'];
  const { code, stderr } = run('qemu-img', create, folder);
  if (code !== 0) throw new Error(`qemu-img ${create.join(' ')} ended with ${code}: ${stderr}`);
  const commands = WRITES.flatMap((command) => ['-c', command]);
  tool(folder, 'qemu-io', '--object', SECRET, ...commands, '--image-opts', image);
}

export const ENCRYPTED = 'driver=qcow2,encrypt.format=luks,encrypt.key-secret=s,file.filename=disk';

export function encrypted(folder: string, more = ''): void {
  const options = `cluster_size=16k,encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10${more}`;
  makeEncrypted(folder, 'qcow2', options, ENCRYPTED);
}

export function encryptedWays(filename: string): ImageName[] {
  return [{ driver: 'qcow2', file: { driver: 'file', filename }, encrypt: { format: 'luks', 'key-secret': 's' } }];
}

export const LUKS = 'driver=luks,key-secret=s,file.filename=disk';

export function luks(folder: string): void {
  makeEncrypted(folder, 'luks', 'key-secret=s,iter-time=10', LUKS);
}

/** By the old password, or by the new one. */
export function luksWays(filename: string): ImageName[] {
  return ['s', 't'].map((key) => ({ driver: 'luks', 'key-secret': key, file: { driver: 'file', filename } }));
}

export const DETACHED = `${LUKS},header.filename=header`;
const PAYLOAD_OFFSET_FIELD = 104;

/** As `luks`, with a copy of its header in a file of its own. The one in the image is destroyed. */
export function detached(folder: string): void {
  luks(folder);
  const image = readFileSync(join(folder, 'disk'));
  const header = Buffer.from(image.subarray(0, image.readUInt32BE(PAYLOAD_OFFSET_FIELD) * 512));
  writeFileSync(join(folder, 'header'), header);
  writeFileSync(join(folder, 'disk'), image.fill(0, 0, header.length));
  writeFileSync(join(folder, 'plain'), Buffer.alloc(1 << 20, 'a new content '));
}

export function detachedWays(filename: string): ImageName[] {
  const header = { driver: 'file', filename: join(dirname(filename), 'header') } as const;
  return luksWays(filename).map((way) => ({ ...(way as object), header }) as ImageName);
}

export const BY_FORCE = ['--force', '--image-opts', '-o', 'state=active,new-secret=t,keyslot=0,iter-time=10'];
