// The operations that are broken off, each with what its files must read as afterwards.

import type { ImageName } from '../../src/index.js';
import {
  BY_FORCE,
  chain,
  DETACHED,
  detached,
  detachedWays,
  disk,
  ENCRYPTED,
  encrypted,
  encryptedWays,
  LUKS,
  longChain,
  luks,
  luksWays,
  MORE,
  OTHER_SECRET,
  oneDisk,
  overSmaller,
  SECRET,
  tool,
  towardsAnother,
  towardsSmaller,
  twoDisks,
  WRITES,
  withBitmapElsewhere,
  withBitmaps,
  withDataFile,
  withFullTables,
  withHoles,
  withLeaks,
  withoutRefcountBlocks,
  withoutRefcounts,
  withSharedZeroes,
  withSnapshot,
  withSubclusters,
  write,
} from './images.js';

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
