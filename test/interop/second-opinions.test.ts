// Images that we made and wrote to, read by programs that share no code with QEMU: 7-Zip, and the libraries libvhdi, libvmdk and libqcow, which show the disk as a file by FUSE.

import { closeSync, ftruncateSync, openSync, readdirSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { describe, it } from 'mocha';
import { Random } from '../../src/host/sim/index.js';
import { Workshop } from '../support/cli.js';
import { leaveOut } from '../support/needs.js';
import { requirePeer } from '../support/peers.js';
import { seedsOf, spanOf, timeLimit } from '../support/sample.js';

const SEEDS = seedsOf({ fixed: 1, daily: 1, soak: 200 });
const SECTOR = 512;
const MIB = 1 << 20;
const GIB = 2 ** 30;
/** What is looked at beside each range that was written. */
const BESIDE = 64 << 10;

type Reader = '7zz' | 'vhdimount' | 'vmdkmount' | 'qcowmount';

interface Kind {
  format: string;
  /** Options of `convert`. */
  options: string[];
  readers: readonly Reader[];
  /** Disks can be as large, in GiB. A flat one is no larger: 7-Zip reads all of it. */
  most: number;
  /** It is written once, in order. */
  isStream?: boolean;
}

const sub = (subformat: string): string[] => ['-o', `subformat=${subformat}`];

// 7-Zip opens neither a VHDX image, nor compressed clusters of qcow, nor streamOptimized ones with a footer, whoever made them; libvmdk no monolithicFlat.
const KINDS: Kind[] = [
  { format: 'vdi', options: [], readers: ['7zz'], most: 1 },
  { format: 'vdi', options: ['-o', 'static=on'], readers: ['7zz'], most: 0 },
  { format: 'vmdk', options: sub('monolithicSparse'), readers: ['7zz', 'vmdkmount'], most: 1 },
  { format: 'vmdk', options: sub('monolithicFlat'), readers: ['7zz'], most: 0 },
  { format: 'vmdk', options: sub('twoGbMaxExtentSparse'), readers: ['vmdkmount'], most: 9 },
  { format: 'vmdk', options: sub('twoGbMaxExtentFlat'), readers: ['vmdkmount'], most: 9 },
  { format: 'vmdk', options: sub('streamOptimized'), readers: ['vmdkmount'], most: 3000, isStream: true },
  { format: 'vpc', options: ['-o', 'force_size=on'], readers: ['7zz', 'vhdimount'], most: 1 },
  { format: 'vpc', options: [], readers: ['vhdimount'], most: 1 },
  { format: 'vpc', options: ['-o', 'force_size=on,subformat=fixed'], readers: ['7zz', 'vhdimount'], most: 0 },
  { format: 'vhdx', options: [], readers: ['vhdimount'], most: 5000 },
  { format: 'vhdx', options: ['-o', 'block_size=1M'], readers: ['vhdimount'], most: 500 },
  { format: 'vhdx', options: sub('fixed'), readers: ['vhdimount'], most: 0 },
  { format: 'qcow', options: [], readers: ['7zz', 'qcowmount'], most: 1 },
  { format: 'qcow', options: ['-c'], readers: ['qcowmount'], most: 1 },
  { format: 'qcow2', options: [], readers: ['7zz', 'qcowmount'], most: 1 },
  { format: 'qcow2', options: ['-c', '-o', 'cluster_size=4k'], readers: ['7zz', 'qcowmount'], most: 1 },
];

interface Range {
  offset: number;
  length: number;
}

function draw(random: Random, size: number): Range {
  const sectors = size / SECTOR;
  const length = Math.min(sectors, random.between(1, random.pick([2, 40, 300, 3000])));
  return { offset: random.below(sectors - length + 1) * SECTOR, length: length * SECTOR };
}

/** The parts of the disk that are looked at. */
function around(ranges: readonly Range[], size: number): Range[] {
  const all = [...ranges, { offset: 0, length: SECTOR }, { offset: size - SECTOR, length: SECTOR }];
  return all.map(({ offset, length }) => {
    const from = Math.max(0, offset - BESIDE);
    return { offset: from, length: Math.min(size, offset + length + BESIDE) - from };
  });
}

function readAt(path: string, { offset, length }: Range): Buffer {
  const buffer = Buffer.alloc(length);
  const file = openSync(path, 'r');
  try {
    for (let done = 0; done < length; ) {
      const count = readSync(file, buffer, done, length - done, offset + done);
      if (count === 0) throw new Error(`${path} ends at ${offset + done}`);
      done += count;
    }
  } finally {
    closeSync(file);
  }
  return buffer;
}

describe('second opinions on our images', function () {
  this.timeout(timeLimit(300_000));
  let shop: Workshop;

  before(async function () {
    for (const peer of ['7zz', 'vhdimount', 'vmdkmount', 'qcowmount']) requirePeer(this, peer);
    shop = await Workshop.open();
    shop.must('mkdir', 'shown');
    must(shop.ours('create', '-q', '-f', 'vhdx', 'probe', '1M'));
    if (shop.run('vhdimount', 'probe', 'shown').code !== 0) return leaveOut(this, 'FUSE');
    unmount();
  });
  after(() => shop?.remove());

  function must({ code, stderr }: { code: number | null; stderr: string }): void {
    expect([code, stderr]).to.deep.equal([0, '']);
  }

  function unmount(): void {
    shop.must('sh', '-c', 'umount shown || fusermount -u shown');
  }

  /** Throws where what `reader` reads is not the model. */
  function compare(reader: Reader, image: string, ranges: readonly Range[]): void {
    const expectSame = (path: string) => {
      for (const range of ranges) {
        const expected = readAt(shop.path('model'), range);
        expect(readAt(path, range).equals(expected), `${reader}: ${range.offset} + ${range.length}`).to.equal(true);
      }
    };
    if (reader === '7zz') {
      shop.must('sh', '-c', `7zz x -so ${image} > extracted`);
      expectSame(shop.path('extracted'));
      return;
    }
    shop.must(reader, image, 'shown');
    try {
      const [name] = readdirSync(shop.path('shown'));
      expectSame(shop.path(join('shown', name)));
    } finally {
      unmount();
    }
  }

  function round(kind: Kind, random: Random): void {
    const large = random.chance(0.5) ? Math.floor(random.fraction() * kind.most * GIB) : 0;
    const size = Math.floor((random.between(1, 12) * MIB + random.below(MIB) + large) / SECTOR) * SECTOR;
    const { format, options } = kind;
    // 7-Zip knows some by their suffix alone.
    const image = `image.${format === 'vpc' ? 'vhd' : format}`;
    const ranges: Range[] = [];
    shop.must('sh', '-c', 'rm -f image* extracted model');
    const model = openSync(shop.path('model'), 'w');
    const write = (byte: number): Range => {
      const range = draw(random, size);
      writeSync(model, Buffer.alloc(range.length, byte), 0, range.length, range.offset);
      ranges.push(range);
      return range;
    };
    try {
      ftruncateSync(model, size);
      for (let count = random.between(0, 12); count > 0; count--) write(random.between(0, 255));
      must(shop.ours('convert', '-q', '-f', 'raw', '-O', format, ...options, 'model', image));
      const commands: string[] = [];
      for (let count = kind.isStream ? 0 : random.between(0, 12); count > 0; count--) {
        const byte = random.between(0, 255);
        const { offset, length } = write(byte);
        commands.push('-c', `write -q -P ${byte} ${offset} ${length}`);
      }
      if (commands.length > 0) must(shop.ours('io', '-f', format, ...commands, image));
    } finally {
      closeSync(model);
    }
    for (const reader of kind.readers) compare(reader, image, around(ranges, size));
  }

  for (const kind of KINDS) {
    const { format, options, readers } = kind;
    it(`${[format, ...options].join(' ')}: ${readers.join(', ')} (${spanOf(SEEDS)})`, () => {
      for (const seed of SEEDS) {
        try {
          round(kind, new Random(seed, 1));
        } catch (error) {
          throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
        }
      }
    });
  }
});
