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
  /** What the operation makes: where it succeeds, this reads as after; else it may be anything, but is not removed where it was there before. */
  made?: string;
  /** How an image is opened, by the first of these that can: a qcow2 image that is not encrypted, unless told otherwise. */
  ways?(filename: string): ImageName[];
  /** It stores a bitmap as clean only when what it makes is whole: where the bitmaps are as after, `made` reads as after, whatever happened. */
  madeFirst?: true;
  /** Images that are written over in place: they check without errors, whatever happens; where the operation succeeds, they read as after. */
  written?: readonly string[];
  /** A command of `io` that fails says so on standard output, as qemu-io does; everything else says it on standard error. */
  saysOnOutput?: true;
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

/** An overlay of an overlay. */
function longChain(folder: string): void {
  chain(folder);
  disk(folder, 'topmost', 'cluster_size=16k', ['-b', 'top', '-F', 'qcow2']);
  write(folder, 'topmost', 'write -q -P 11 50k 90k', 'write -q -P 12 2200k 60k');
}

/** An overlay that is longer than its backing file. */
function overSmaller(folder: string): void {
  tool(folder, 'qemu-img', 'create', '-q', '-f', 'qcow2', '-o', 'cluster_size=4k', 'disk', '2M');
  write(folder, 'disk', 'write -q -P 1 0 200k', 'write -q -P 2 1M 100k');
  disk(folder, 'top', 'cluster_size=16k', ['-b', 'disk', '-F', 'qcow2']);
  write(folder, 'top', ...MORE);
}

/** An overlay, and a raw file that is shorter and could be its backing file. */
function towardsSmaller(folder: string): void {
  chain(folder);
  tool(folder, 'qemu-img', 'convert', '-O', 'raw', 'disk', 'long.raw');
  tool(folder, 'dd', 'if=long.raw', 'of=small.raw', 'bs=1k', 'count=1111', 'status=none');
}

/** A disk, and another one of the same size. */
function twoDisks(folder: string): void {
  oneDisk(folder);
  disk(folder, 'there', 'cluster_size=4k');
  write(folder, 'there', ...MORE);
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

/** Two disks, each with a bitmap. */
function withBitmapElsewhere(folder: string): void {
  withBitmaps(folder);
  disk(folder, 'there', 'cluster_size=4k');
  tool(folder, 'qemu-img', 'bitmap', '--add', '-g', '4k', 'there', 'theirs');
  write(folder, 'there', ...MORE);
}

/** A small disk with the smallest clusters, whose refcount table is full at 2 MiB. */
function withFullTables(folder: string): void {
  tool(folder, 'qemu-img', 'create', '-q', '-f', 'qcow2', '-o', 'cluster_size=512,refcount_bits=64', 'disk', '1M');
  write(folder, 'disk', 'write -q -P 1 0 200k', 'write -q -P 2 500k 100k');
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

const RAISE_REFCOUNTS = `
  const fs = require('fs');
  const fd = fs.openSync(process.argv[1], 'r+');
  const entry = (at) => { const b = Buffer.alloc(8); fs.readSync(fd, b, 0, 8, at); return Number(b.readBigUInt64BE()); };
  fs.ftruncateSync(fd, 100 * 16384);
  fs.writeSync(fd, Buffer.alloc(40, Uint8Array.of(0, 2)), 0, 40, entry(entry(48)) + 2 * 70);`;

/** A disk with clusters that nothing refers to. */
function withLeaks(folder: string): void {
  oneDisk(folder);
  tool(folder, process.execPath, '-e', RAISE_REFCOUNTS, join(folder, 'disk'));
}

const BREAK_REFCOUNT_TABLE = `
  const fs = require('fs');
  const fd = fs.openSync(process.argv[1], 'r+');
  const b = Buffer.alloc(8); fs.readSync(fd, b, 0, 8, 48);
  fs.writeSync(fd, Buffer.from('00000000000123ff', 'hex'), 0, 8, Number(b.readBigUInt64BE()));`;

/** A disk with a snapshot, whose refcounts cannot be found. */
function withoutRefcountBlocks(folder: string): void {
  withSnapshot(folder);
  tool(folder, process.execPath, '-e', BREAK_REFCOUNT_TABLE, join(folder, 'disk'));
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
  {
    name: 'convert onto an existing image',
    prepare: twoDisks,
    words: ['convert', '-n', '-O', 'qcow2', '-t', 'writeback', 'disk', 'there'],
    images: ['disk'],
    written: ['there'],
  },
  {
    name: 'convert over an existing file',
    prepare: twoDisks,
    words: ['convert', '-O', 'qcow2', '-t', 'writeback', 'disk', 'there'],
    images: ['disk'],
    made: 'there',
  },
  {
    name: 'dd over an existing file',
    prepare: twoDisks,
    words: ['dd', '-O', 'qcow2', 'bs=64k', 'skip=1', 'if=disk', 'of=there'],
    images: ['disk'],
    made: 'there',
  },
  {
    name: 'create over an existing file',
    prepare: twoDisks,
    words: ['create', '-q', '-f', 'qcow2', '-o', 'cluster_size=4k,preallocation=metadata', 'there', '3M'],
    images: ['disk'],
    made: 'there',
  },
  {
    name: 'create with a backing file',
    prepare: oneDisk,
    words: ['create', '-q', '-f', 'qcow2', '-b', 'disk', '-F', 'qcow2', 'new'],
    images: ['disk'],
    made: 'new',
  },
  {
    name: 'mirror',
    prepare: chain,
    words: ['mirror', '-q', '--target=new', '--format=qcow2', 'top'],
    images: ['disk', 'top'],
    made: 'new',
  },
  {
    name: 'mirror onto an existing image',
    prepare: twoDisks,
    words: ['mirror', '-q', '--target=there', '--mode=existing', 'disk'],
    images: ['disk'],
    written: ['there'],
  },
  {
    name: 'backup',
    prepare: chain,
    words: ['backup', '-q', '--target=new', '--format=qcow2', '--compress', 'top'],
    images: ['disk', 'top'],
    made: 'new',
  },
  { name: 'commit', prepare: chain, words: ['commit', '-q', 'top'], images: ['top'], written: ['disk'] },
  {
    name: 'commit into the base',
    prepare: longChain,
    words: ['commit', '-q', '-b', 'disk', 'topmost'],
    images: ['topmost'],
    written: ['disk'],
  },
  {
    name: 'commit into a shorter image',
    prepare: overSmaller,
    words: ['commit', '-q', 'top'],
    images: ['top'],
    written: ['disk'],
  },
  { name: 'stream', prepare: chain, words: ['stream', '-q', 'top'], images: ['disk', 'top'] },
  {
    name: 'stream to a base',
    prepare: longChain,
    words: ['stream', '-q', '--base=disk', 'topmost'],
    images: ['disk', 'top', 'topmost'],
  },
  {
    name: 'rebase to none',
    prepare: towardsAnother,
    words: ['rebase', '-q', '-b', '', 'top'],
    images: ['disk', 'top'],
  },
  {
    name: 'rebase, compressed',
    prepare: towardsAnother,
    words: ['rebase', '-q', '-c', '-b', 'other', '-F', 'qcow2', 'top'],
    images: ['disk', 'top', 'other'],
  },
  {
    name: 'rebase to a shorter file',
    prepare: towardsSmaller,
    words: ['rebase', '-q', '-b', 'small.raw', '-F', 'raw', 'top'],
    images: ['disk', 'top'],
  },
  {
    name: 'rebase -u',
    prepare: towardsAnother,
    words: ['rebase', '-q', '-u', '-b', 'other', '-F', 'qcow2', 'top'],
    images: ['disk', 'top', 'other'],
  },
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
  {
    name: 'check -r all, a new refcount table',
    prepare: withoutRefcountBlocks,
    words: ['check', '-q', '-r', 'all', 'disk'],
    images: ['disk'],
    repairs: true,
  },
  {
    name: 'check -r leaks',
    prepare: withLeaks,
    words: ['check', '-q', '-r', 'leaks', 'disk'],
    images: ['disk'],
  },
  { name: 'snapshot -c', prepare: oneDisk, words: ['snapshot', '-c', 'new', 'disk'], images: ['disk'] },
  { name: 'snapshot -a', prepare: withSnapshot, words: ['snapshot', '-a', 'first', 'disk'], images: ['disk'] },
  { name: 'snapshot -d', prepare: withSnapshot, words: ['snapshot', '-d', 'first', 'disk'], images: ['disk'] },
  { name: 'compact', prepare: withHoles, words: ['compact', '-q', 'disk'], images: ['disk'] },
  { name: 'resize, larger', prepare: oneDisk, words: ['resize', '-q', 'disk', '600M'], images: ['disk'] },
  {
    name: 'resize, larger, with bitmaps',
    prepare: withBitmaps,
    words: ['resize', '-q', 'disk', '5M'],
    images: ['disk'],
  },
  ...(['metadata', 'falloc', 'full'] as const).map(
    (preallocation): Operation => ({
      name: `resize, larger, preallocation ${preallocation}`,
      prepare: chain,
      words: ['resize', '-q', `--preallocation=${preallocation}`, 'top', '6M'],
      images: ['disk', 'top'],
    }),
  ),
  {
    name: 'resize, larger, with longer L1 and refcount tables',
    prepare: withFullTables,
    words: ['resize', '-q', '--preallocation=metadata', 'disk', '2500k'],
    images: ['disk'],
  },
  {
    name: 'resize, smaller, extended L2 with bitmaps',
    prepare: (folder) => {
      disk(folder, 'disk', 'cluster_size=16k,extended_l2=on');
      write(folder, 'disk', ...WRITES);
      tool(folder, 'qemu-img', 'bitmap', '--add', '-g', '4k', 'disk', 'one');
      write(folder, 'disk', ...MORE);
    },
    words: ['resize', '-q', '--shrink', 'disk', '2049k'],
    images: ['disk'],
  },
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
  {
    name: 'amend compat upwards, with wider refcounts',
    prepare: (folder) => {
      disk(folder, 'disk', 'cluster_size=16k,compat=0.10');
      write(folder, 'disk', ...WRITES);
      tool(folder, 'qemu-img', 'snapshot', '-c', 'first', 'disk');
    },
    words: ['amend', '-q', '-o', 'compat=1.1,refcount_bits=64,lazy_refcounts=on', 'disk'],
    images: ['disk'],
  },
  {
    name: 'amend lazy_refcounts off, and the size',
    prepare: (folder) => {
      disk(folder, 'disk', 'cluster_size=16k,lazy_refcounts=on');
      write(folder, 'disk', ...WRITES);
    },
    words: ['amend', '-q', '-o', 'lazy_refcounts=off,size=5M', 'disk'],
    images: ['disk'],
  },
  {
    name: 'amend data_file_raw',
    prepare: (folder) => {
      disk(folder, 'disk', 'cluster_size=16k,data_file=data,data_file_raw=on');
      write(folder, 'disk', ...WRITES);
    },
    words: ['amend', '-q', '-o', 'data_file_raw=off', 'disk'],
    images: ['disk'],
  },
  { name: 'bitmap --add', prepare: oneDisk, words: ['bitmap', '--add', 'disk', 'one'], images: ['disk'] },
  { name: 'bitmap --remove', prepare: withBitmaps, words: ['bitmap', '--remove', 'disk', 'one'], images: ['disk'] },
  { name: 'bitmap --clear', prepare: withBitmaps, words: ['bitmap', '--clear', 'disk', 'one'], images: ['disk'] },
  {
    name: 'bitmap --enable',
    prepare: (folder) => {
      withBitmaps(folder);
      tool(folder, 'qemu-img', 'bitmap', '--disable', 'disk', 'one');
    },
    words: ['bitmap', '--enable', 'disk', 'one'],
    images: ['disk'],
  },
  { name: 'bitmap --disable', prepare: withBitmaps, words: ['bitmap', '--disable', 'disk', 'one'], images: ['disk'] },
  {
    name: 'bitmap --merge from another file',
    prepare: withBitmapElsewhere,
    words: ['bitmap', '--merge', 'theirs', '-b', 'there', '-F', 'qcow2', 'disk', 'two'],
    images: ['disk', 'there'],
  },
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
  {
    name: 'snapshot -a, of another size, with a bitmap',
    prepare: (folder) => {
      withSnapshot(folder);
      tool(folder, 'qemu-img', 'bitmap', '--add', 'disk', 'bits');
      tool(folder, 'qemu-img', 'snapshot', '-c', 'second', 'disk');
      write(folder, 'disk', 'write -q -P 13 3M 30k');
    },
    words: ['snapshot', '-a', 'second', 'disk'],
    images: ['disk'],
  },
  {
    name: 'compact, what the backing file has dropped',
    prepare: (folder) => {
      chain(folder);
      write(folder, 'top', 'write -q -P 1 0 64k', 'discard 2M 60k');
    },
    words: ['compact', '-q', '--dedupe-backing', 'top'],
    images: ['disk', 'top'],
  },
  {
    name: 'compact, encrypted',
    prepare: (folder) => {
      encrypted(folder);
      tool(folder, 'qemu-io', '--object', SECRET, '-c', 'discard 0 400k', '--image-opts', `${ENCRYPTED},discard=unmap`);
    },
    words: ['compact', '-q', '--object', SECRET, '--image-opts', ENCRYPTED],
    images: ['disk'],
    ways: encryptedWays,
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
    name: 'amend encrypt, a password less',
    prepare: (folder) => {
      encrypted(folder);
      const add = 'encrypt.state=active,encrypt.new-secret=t,encrypt.iter-time=10';
      const secrets = ['--object', SECRET, '--object', OTHER_SECRET];
      tool(folder, 'qemu-img', 'amend', '-q', ...secrets, '--image-opts', '-o', add, ENCRYPTED);
    },
    words: [
      ...['amend', '-q', '--object', SECRET, '--object', OTHER_SECRET, '--image-opts', '-o'],
      ...['encrypt.state=inactive,encrypt.old-secret=t', ENCRYPTED],
    ],
    images: ['disk'],
    ways: encryptedWays,
  },
  {
    name: 'writes, discards and zeroes of io',
    prepare: withSubclusters,
    words: [
      ...[
        'io',
        '-f',
        'qcow2',
        '-d',
        'unmap',
        '-c',
        'write -q -P 21 10k 500k',
        '-c',
        'flush',
        '-c',
        'discard -q 1M 50k',
      ],
      ...['-c', 'write -q -z -u 3M 200k', '-c', 'write -q -c -P 22 2M 16k', 'disk'],
    ],
    images: [],
    written: ['disk'],
    saysOnOutput: true,
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
