// The operations that are broken off, each with what its files must read as afterwards.

import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { ImageName } from '../../src/index.js';

export interface Operation {
  name: string;
  /** Makes the files in a folder. */
  prepare(folder: string): void;
  /** The command, with names of files in the folder. */
  words: readonly string[];
  /** The images that must read as before or as after, whatever happens, and check without errors. */
  images: readonly string[];
  /** What the operation makes: where it succeeds, this reads as after; else it may be anything. */
  made?: string;
  /** How an image is opened, by the first of these that can: a qcow2 image that is not encrypted, unless told otherwise. */
  ways?(filename: string): ImageName[];
  /** It stores a bitmap as clean only when what it makes is whole: where the bitmaps are as after, `made` reads as after, whatever happened. */
  madeFirst?: true;
  /** Of an image that is damaged before: after a failure it is repaired again, and reads as after then. */
  repairs?: true;
}

/** `--object` of what opens the encrypted images, and of another password. */
export const SECRETS = ['secret,id=s,data=one', 'secret,id=t,data=two'] as const;
const [SECRET, OTHER_SECRET] = SECRETS;

function tool(folder: string, program: string, ...words: string[]): void {
  execFileSync(program, words, { cwd: folder, stdio: ['ignore', 'ignore', 'inherit'] });
}

/** A disk of 4 MiB with data here and there. */
function disk(folder: string, name: string, options = 'cluster_size=16k', backing: readonly string[] = []): void {
  tool(folder, 'qemu-img', 'create', '-q', '-f', 'qcow2', '-o', options, ...backing, name, '4M');
}

function write(folder: string, name: string, ...commands: string[]): void {
  tool(folder, 'qemu-io', '-f', 'qcow2', ...commands.flatMap((command) => ['-c', command]), name);
}

const WRITES = ['write -q -P 1 0 200k', 'write -q -P 2 1M 100k', 'write -q -P 3 3000k 300k', 'write -q -z 1500k 64k'];
const MORE = ['write -q -P 7 100k 150k', 'write -q -P 8 2M 60k', 'write -q -P 9 3100k 20k'];

function oneDisk(folder: string): void {
  disk(folder, 'disk');
  write(folder, 'disk', ...WRITES);
}

function chain(folder: string): void {
  oneDisk(folder);
  disk(folder, 'top', 'cluster_size=16k', ['-b', 'disk', '-F', 'qcow2']);
  write(folder, 'top', ...MORE);
}

/** An overlay with a bitmap, and another image that could be its backing file. */
function towardsAnother(folder: string): void {
  chain(folder);
  tool(folder, 'qemu-img', 'bitmap', '--add', '-g', '64k', 'top', 'bits');
  disk(folder, 'other', 'cluster_size=4k');
  write(folder, 'other', 'write -q -P 1 0 50k', 'write -q -P 5 1M 100k');
}

function withSnapshot(folder: string): void {
  oneDisk(folder);
  tool(folder, 'qemu-img', 'snapshot', '-c', 'first', 'disk');
  write(folder, 'disk', ...MORE);
}

/** A disk with two bitmaps; `one` has recorded some writes. */
function withBitmaps(folder: string): void {
  oneDisk(folder);
  tool(folder, 'qemu-img', 'bitmap', '--add', '-g', '4k', 'disk', 'one');
  write(folder, 'disk', ...MORE);
  tool(folder, 'qemu-img', 'bitmap', '--add', '-g', '64k', 'disk', 'two');
}

const ZERO_REFCOUNTS = `
  const fs = require('fs');
  const fd = fs.openSync(process.argv[1], 'r+');
  const entry = (at) => { const b = Buffer.alloc(8); fs.readSync(fd, b, 0, 8, at); return Number(b.readBigUInt64BE()); };
  fs.writeSync(fd, Buffer.alloc(4096), 0, 4096, entry(entry(48)));`;

/** A disk whose refcounts are all wrong: the block that counts them is zero. */
function withoutRefcounts(folder: string): void {
  oneDisk(folder);
  tool(folder, process.execPath, '-e', ZERO_REFCOUNTS, join(folder, 'disk'));
}

/** A disk, a snapshot and a bitmap with free places between what they hold. */
function withHoles(folder: string): void {
  oneDisk(folder);
  tool(folder, 'qemu-img', 'bitmap', '--add', 'disk', 'bits');
  tool(folder, 'qemu-img', 'snapshot', '-c', 'first', 'disk');
  write(folder, 'disk', ...MORE, 'discard 0 600k', 'write -q -c -P 6 3600k 64k');
  tool(folder, 'qemu-img', 'snapshot', '-c', 'second', 'disk');
  tool(folder, 'qemu-img', 'snapshot', '-d', 'first', 'disk');
}

/** A disk with extended L2 entries and a snapshot, of which the disk shares tables. */
function withSubclusters(folder: string): void {
  disk(folder, 'disk', 'cluster_size=16k,extended_l2=on');
  write(folder, 'disk', ...WRITES, 'write -q -c -P 6 3600k 64k');
  tool(folder, 'qemu-img', 'snapshot', '-c', 'first', 'disk');
  write(folder, 'disk', ...MORE, 'write -q -z 512k 9k', 'discard 2M 30k');
}

/** A snapshot and the disk share zero clusters over a backing file. */
function withSharedZeroes(folder: string): void {
  chain(folder);
  write(folder, 'top', 'write -q -z 600k 64k');
  tool(folder, 'qemu-img', 'snapshot', '-c', 'first', 'top');
  write(folder, 'top', 'write -q -z 2M 32k', 'write -q -P 5 620k 20k');
}

/** A disk whose content lies in a file of its own, with two bitmaps. */
function withDataFile(folder: string): void {
  disk(folder, 'disk', 'cluster_size=16k,data_file=data');
  write(folder, 'disk', ...WRITES);
  tool(folder, 'qemu-img', 'bitmap', '--add', '-g', '4k', 'disk', 'one');
  write(folder, 'disk', ...MORE);
  tool(folder, 'qemu-img', 'bitmap', '--add', '-g', '64k', 'disk', 'two');
}

/** Makes the encrypted image `disk`, with some data. `image`: its name for options. */
function makeEncrypted(folder: string, format: 'qcow2' | 'luks', options: string, image: string): void {
  const create = ['create', '-q', '--object', SECRET, '-f', format, '-o', options, 'disk', '4M'];
  // On a loaded machine qemu-img 7.2 may fail to measure how fast it is: "Unable to get accurate CPU usage".
  for (let tries = 1; spawnSync('qemu-img', create, { cwd: folder }).status !== 0; tries++) {
    if (tries === 10) tool(folder, 'qemu-img', ...create);
  }
  const commands = WRITES.flatMap((command) => ['-c', command]);
  tool(folder, 'qemu-io', '--object', SECRET, ...commands, '--image-opts', image);
}

const ENCRYPTED = 'driver=qcow2,encrypt.format=luks,encrypt.key-secret=s,file.filename=disk';

function encrypted(folder: string, more = ''): void {
  const options = `cluster_size=16k,encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10${more}`;
  makeEncrypted(folder, 'qcow2', options, ENCRYPTED);
}

function encryptedWays(filename: string): ImageName[] {
  return [{ driver: 'qcow2', file: { driver: 'file', filename }, encrypt: { format: 'luks', 'key-secret': 's' } }];
}

const LUKS = 'driver=luks,key-secret=s,file.filename=disk';

function luks(folder: string): void {
  makeEncrypted(folder, 'luks', 'key-secret=s,iter-time=10', LUKS);
}

/** By the old password, or by the new one. */
function luksWays(filename: string): ImageName[] {
  return ['s', 't'].map((key) => ({ driver: 'luks', 'key-secret': key, file: { driver: 'file', filename } }));
}

const DETACHED = `${LUKS},header.filename=header`;
const PAYLOAD_OFFSET_FIELD = 104;

/** As `luks`, with a copy of its header in a file of its own. The one in the image is destroyed. */
function detached(folder: string): void {
  luks(folder);
  const image = readFileSync(join(folder, 'disk'));
  const header = Buffer.from(image.subarray(0, image.readUInt32BE(PAYLOAD_OFFSET_FIELD) * 512));
  writeFileSync(join(folder, 'header'), header);
  writeFileSync(join(folder, 'disk'), image.fill(0, 0, header.length));
  writeFileSync(join(folder, 'plain'), Buffer.alloc(1 << 20, 'a new content '));
}

function detachedWays(filename: string): ImageName[] {
  const header = { driver: 'file', filename: join(dirname(filename), 'header') } as const;
  return luksWays(filename).map((way) => ({ ...(way as object), header }) as ImageName);
}

const BY_FORCE = ['--force', '--image-opts', '-o', 'state=active,new-secret=t,keyslot=0,iter-time=10'];

export const OPERATIONS: readonly Operation[] = [
  {
    name: 'convert',
    prepare: withBitmaps,
    words: ['convert', '--bitmaps', '-O', 'qcow2', '-t', 'writeback', 'disk', 'new'],
    images: ['disk'],
    made: 'new',
  },
  {
    name: 'salvage',
    prepare: withHoles,
    words: ['salvage', '-q', '-O', 'qcow2', '-t', 'writeback', 'disk', 'new'],
    images: ['disk'],
    made: 'new',
  },
  { name: 'commit', prepare: chain, words: ['commit', '-q', 'top'], images: ['top'] },
  { name: 'stream', prepare: chain, words: ['stream', '-q', 'top'], images: ['disk', 'top'] },
  {
    name: 'rebase',
    prepare: towardsAnother,
    words: ['rebase', '-q', '-b', 'other', '-F', 'qcow2', 'top'],
    images: ['top'],
  },
  {
    name: 'check -r all',
    prepare: withoutRefcounts,
    words: ['check', '-q', '-r', 'all', 'disk'],
    images: ['disk'],
    repairs: true,
  },
  { name: 'snapshot -c', prepare: oneDisk, words: ['snapshot', '-c', 'new', 'disk'], images: ['disk'] },
  { name: 'snapshot -a', prepare: withSnapshot, words: ['snapshot', '-a', 'first', 'disk'], images: ['disk'] },
  { name: 'snapshot -d', prepare: withSnapshot, words: ['snapshot', '-d', 'first', 'disk'], images: ['disk'] },
  { name: 'compact', prepare: withHoles, words: ['compact', '-q', 'disk'], images: ['disk'] },
  { name: 'resize, larger', prepare: oneDisk, words: ['resize', '-q', 'disk', '600M'], images: ['disk'] },
  { name: 'resize, smaller', prepare: oneDisk, words: ['resize', '-q', '--shrink', 'disk', '2M'], images: ['disk'] },
  { name: 'amend compat', prepare: oneDisk, words: ['amend', '-q', '-o', 'compat=0.10', 'disk'], images: ['disk'] },
  {
    name: 'amend refcount_bits',
    prepare: oneDisk,
    words: ['amend', '-q', '-o', 'refcount_bits=64', 'disk'],
    images: ['disk'],
  },
  {
    name: 'backup by a bitmap',
    prepare: withBitmaps,
    words: ['backup', '-q', '--sync=incremental', '--bitmap=one', '--target=new', '--format=qcow2', 'disk'],
    images: ['disk'],
    made: 'new',
    madeFirst: true,
  },
  { name: 'bitmap --add', prepare: oneDisk, words: ['bitmap', '--add', 'disk', 'one'], images: ['disk'] },
  { name: 'bitmap --remove', prepare: withBitmaps, words: ['bitmap', '--remove', 'disk', 'one'], images: ['disk'] },
  {
    name: 'bitmap, in place',
    prepare: withBitmaps,
    words: ['bitmap', '--clear', '--merge', 'one', '--disable', 'disk', 'two'],
    images: ['disk'],
  },
  {
    name: 'bitmap, with a new directory',
    prepare: withBitmaps,
    words: ['bitmap', '--add', '--merge', 'one', '--merge', 'two', '-g', '512', 'disk', 'all'],
    images: ['disk'],
  },
  {
    name: 'amend compat, with a snapshot',
    prepare: withSharedZeroes,
    words: ['amend', '-q', '-o', 'compat=0.10', 'top'],
    images: ['disk', 'top'],
  },
  {
    name: 'amend refcount_bits, with a snapshot',
    prepare: withSnapshot,
    words: ['amend', '-q', '-o', 'refcount_bits=8', 'disk'],
    images: ['disk'],
  },
  {
    name: 'snapshot -a, extended L2',
    prepare: withSubclusters,
    words: ['snapshot', '-a', 'first', 'disk'],
    images: ['disk'],
  },
  {
    name: 'snapshot -d, extended L2',
    prepare: withSubclusters,
    words: ['snapshot', '-d', 'first', 'disk'],
    images: ['disk'],
  },
  { name: 'compact, extended L2', prepare: withSubclusters, words: ['compact', '-q', 'disk'], images: ['disk'] },
  {
    name: 'bitmap, with a data file',
    prepare: withDataFile,
    words: ['bitmap', '--add', '--merge', 'one', '--merge', 'two', '-g', '512', 'disk', 'all'],
    images: ['disk'],
  },
  {
    name: 'amend encrypt, a further password',
    prepare: (folder) => encrypted(folder),
    words: [
      ...['amend', '-q', '--object', SECRET, '--object', OTHER_SECRET, '--image-opts', '-o'],
      ...['encrypt.state=active,encrypt.new-secret=t,encrypt.iter-time=10', ENCRYPTED],
    ],
    images: ['disk'],
    ways: encryptedWays,
  },
  {
    name: 'resize, with an encrypted data file',
    prepare: (folder) => encrypted(folder, ',data_file=data'),
    words: ['resize', '-q', '--object', SECRET, '--image-opts', '--preallocation=metadata', ENCRYPTED, '6M'],
    images: ['disk'],
    ways: encryptedWays,
  },
  {
    name: 'amend luks, the only password is replaced',
    prepare: luks,
    words: ['amend', '-q', '--object', SECRET, '--object', OTHER_SECRET, ...BY_FORCE, LUKS],
    images: ['disk'],
    ways: luksWays,
  },
  {
    name: 'amend a detached header, the only password is replaced',
    prepare: detached,
    words: ['amend', '-q', '--object', SECRET, '--object', OTHER_SECRET, ...BY_FORCE, DETACHED],
    images: ['disk'],
    ways: detachedWays,
  },
  {
    name: 'resize, with a detached header',
    prepare: detached,
    words: ['resize', '-q', '--object', SECRET, '--image-opts', DETACHED, '6M'],
    images: ['disk'],
    ways: detachedWays,
  },
  {
    name: 'convert, to a disk with a detached header',
    prepare: detached,
    words: ['convert', '-n', '--object', SECRET, '-f', 'raw', '--target-image-opts', 'plain', DETACHED],
    images: [],
    made: 'disk',
    ways: detachedWays,
  },
];
