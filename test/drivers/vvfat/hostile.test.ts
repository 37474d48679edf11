// A machine may write anything: what is no whole file system changes nothing in the folder, and nothing ever leads out of it.

import { mkdirSync, readFileSync } from 'node:fs';
import { expect } from 'chai';
import { longNameBytes } from '../../../src/drivers/protocols/vvfat/names.js';
import { Random } from '../../../src/host/sim/random.js';
import { BlockError } from '../../../src/util/errors.js';
import { requirePeer } from '../../support/peers.js';
import { seedsOf, spanOf, timeLimit } from '../../support/sample.js';
import { failureOf } from '../support.js';
import { FolderLab, filesBelow, Machine } from './lab.js';

/** A floppy of 1.44 MB: one sector, two FATs of one sector, a root directory of 32 sectors. */
const OWN = { floppy: true, 'fat-type': 12 };
const FAT = 512;
const ROOT = 3 * 512;
const DATA = ROOT + 32 * 512;
const CLUSTER = 8192;
/** Each file has one entry for its long name and one for its short one, behind the label. */
const entryOf = (index: number) => ROOT + 32 * (1 + 2 * index + 1);

/** Both FATs get the value, as FAT12 has it. */
function setFat(pc: Machine, cluster: number, value: number): void {
  for (const start of [FAT, FAT + 512]) {
    const at = start + cluster + (cluster >> 1);
    const [low, high] = pc.peek(at, 2);
    const pair = low | (high << 8);
    const next = cluster % 2 === 0 ? (pair & 0xf000) | value : (pair & 0xf) | (value << 4);
    pc.poke(at, [next & 0xff, next >> 8]);
  }
}

/** The file with this index gets the long name, which has as many characters as before. */
function setName(pc: Machine, index: number, name: string): void {
  pc.poke(entryOf(index) - 32 + 1, Buffer.from(name.slice(0, 5), 'utf16le'));
  pc.poke(entryOf(index) - 32 + 14, Buffer.from(name.slice(5), 'utf16le'));
}

describe('vvfat: what no folder can hold', function () {
  this.timeout(timeLimit(120_000));
  let lab: FolderLab;
  let held: Record<string, string>;
  before(function () {
    requirePeer(this, 'mcopy');
  });
  beforeEach(() => {
    lab = new FolderLab();
    lab.write('outside', 'not ours');
    lab.write('.disk/x', '');
  });
  afterEach(() => lab.close());

  /** The order of a folder's entries is the system's: what is made one by one may come in another one. */
  async function start(): Promise<Machine> {
    mkdirSync(lab.path('disk'));
    const pc = await Machine.start(lab, OWN);
    for (const name of ['first.file', 'secondfile', 'third.file']) {
      lab.write('new', name.repeat(1000));
      pc.mtools('mcopy', lab.path('new'), `::/${name}`);
    }
    pc.mtools('mmd', '::/a folder..');
    await pc.flush();
    held = filesBelow(lab.path('disk'));
    expect(Object.keys(held)).to.have.length(4);
    return pc;
  }

  const BROKEN: readonly [string, (pc: Machine) => void, RegExp][] = [
    ['the FATs differ', (pc) => pc.poke(FAT + 512 + 300, [1]), /tables differ/],
    ['a chain has no end', (pc) => setFat(pc, 3, 2), /is another file's/],
    ['two files have the same cluster', (pc) => pc.poke(entryOf(1) + 26, [2]), /is another file's/],
    ['a chain leads to a cluster that there is not', (pc) => setFat(pc, 3, 0xf00), /there is not/],
    ['a chain leads to a free cluster', (pc) => setFat(pc, 3, 0), /there is not/],
    ['a chain leads to cluster 1', (pc) => setFat(pc, 3, 1), /there is not/],
    ['a file has too few clusters', (pc) => setFat(pc, 2, 0xfff), /has 1 clusters for 10000 bytes/],
    ['a file has too many clusters', (pc) => pc.poke(entryOf(0) + 28, [1, 0, 0, 0]), /too many clusters/],
    ['an empty file has a cluster', (pc) => pc.poke(entryOf(0) + 28, [0, 0, 0, 0]), /is empty, and has clusters/],
    ['a cluster is in no file', (pc) => setFat(pc, 100, 0xfff), /cluster 100 is in no file/],
    ['a folder has no cluster', (pc) => pc.poke(entryOf(3) + 26, [0, 0]), /there is not/],
    ['a folder lies in itself', (pc) => pc.poke(DATA + 6 * CLUSTER + 64, loopEntry()), /is another file's/],
    ['a name leads out of the folder', (pc) => setName(pc, 0, '../outside'), /is no name of a file/],
    ['a name has a slash', (pc) => setName(pc, 0, 'first/file'), /is no name of a file/],
    ['a name is absolute', (pc) => setName(pc, 0, '/tmp/outsd'), /is no name of a file/],
    ['a name is no UTF-16', (pc) => setName(pc, 0, '\ud800irst.file'), /is no name of a file/],
    ['a name is `..`', (pc) => setName(pc, 0, '..\0\uffff\uffff\uffff'), /is no name of a file/],
    ['a name is empty', (pc) => setName(pc, 0, '\0\uffff\uffff\uffff'), /is no name of a file/],
    ['two files have one name', (pc) => setName(pc, 0, 'secondfile'), /is twice in/],
    ['two names differ in the case of letters only', (pc) => setName(pc, 0, 'SecondFile'), /is twice in/],
    [
      'a name is that of an image which is kept',
      (pc) => pc.poke(ROOT, keptImageEntries()),
      /images that Diskwright keeps/,
    ],
    ['a file has become a label', (pc) => pc.poke(entryOf(0) + 11, [0x08]), /is in no file/],
    ['a short name is not ASCII', (pc) => pc.poke(entryOf(0) - 32, [0xe5, ...new Array(31), 0x80]), /is not ASCII/],
    ['the boot sector has another layout', (pc) => pc.poke(13, [8]), /another one/],
  ];
  for (const [what, make, why] of BROKEN) {
    it(`changes nothing while ${what}, and says so in the end`, async () => {
      const pc = await start();
      const whole = readFileSync(lab.path('machine.raw'));
      make(pc);
      pc.poke(DATA + 3 * CLUSTER, [0x21]);
      await pc.flush();
      expect(filesBelow(lab.path('disk'))).to.deep.equal(held);
      // It is mended, and something new with it.
      whole[DATA + 4 * CLUSTER] = 0x3f;
      pc.poke(0, whole);
      await pc.flush();
      expect(filesBelow(lab.path('disk'))['third.file']).to.match(/^\?hird.file/);
      make(pc);
      await pc.flush();
      const error = await failureOf(pc.stop());
      expect([error.code, why.test(error.message)]).to.deep.equal(['bad-state', true], error.message);
      expect(filesBelow(lab.path('disk'))['third.file']).to.match(/^\?hird.file/);
      expect(readFileSync(lab.path('outside'), 'utf8')).to.equal('not ours');
    });
  }

  const STALE: readonly [string, (pc: Machine) => void][] = [
    ['belongs to another short one', (pc) => pc.poke(entryOf(0), [0x58])],
    ['is not whole', (pc) => pc.poke(entryOf(0) - 32, [0x42])],
    ['begins in its middle', (pc) => pc.poke(entryOf(0) - 32, [0x01])],
    ['has no number', (pc) => pc.poke(entryOf(0) - 32, [0x40])],
  ];
  for (const [what, make] of STALE) {
    it(`takes the short name where the long one ${what}`, async () => {
      const pc = await start();
      make(pc);
      const [base, extension] = [0, 8].map((at) =>
        Buffer.from(pc.peek(entryOf(0) + at, at === 0 ? 8 : 3))
          .toString('latin1')
          .trimEnd(),
      );
      await pc.flush();
      const { 'first.file': content, ...others } = held;
      expect(filesBelow(lab.path('disk'))).to.deep.equal({ ...others, [`${base}.${extension}`]: content });
      await pc.stop();
    });
  }

  it('follows the clusters of a file, whatever they were before', async () => {
    const pc = await start();
    // The first two files change places on the disk; not one byte of them is written.
    pc.poke(entryOf(0) + 26, [4]);
    pc.poke(entryOf(1) + 26, [2]);
    await pc.flush();
    expect(filesBelow(lab.path('disk'))).to.deep.equal({
      ...held,
      'first.file': held['secondfile'],
      secondfile: held['first.file'],
    });
    // The last cluster of the one is that of the other.
    setFat(pc, 2, 5);
    setFat(pc, 4, 3);
    await pc.flush();
    const [first, second] = ['first.file', 'secondfile'].map((name) => filesBelow(lab.path('disk'))[name]);
    expect(first).to.equal(held['secondfile'].slice(0, CLUSTER) + held['first.file'].slice(CLUSTER));
    expect(second).to.equal(held['first.file'].slice(0, CLUSTER) + held['secondfile'].slice(CLUSTER));
    await pc.expectSame();
  });

  const seeds = seedsOf({ fixed: 60, daily: 20, soak: 5000 });
  it(`is never anything else than unchanged, refused, or in the folder (${spanOf(seeds)})`, async () => {
    const pc = await start();
    const whole = readFileSync(lab.path('machine.raw'));
    let unchanged = 0;
    for (const seed of seeds) {
      const random = new Random(seed);
      pc.poke(0, whole);
      for (let count = random.between(1, 4); count > 0; count--) {
        const [from, length] =
          random.below(3) === 0 ? [FAT, 16] : random.below(4) === 0 ? [DATA + 6 * CLUSTER, 96] : [ROOT, 320];
        const at = from + random.below(length);
        const value = random.below(2) === 0 ? pc.peek(at, 1)[0] ^ (1 << random.below(8)) : random.below(256);
        pc.poke(at, [value]);
        if (from === FAT) pc.poke(at + 512, [value]);
      }
      try {
        await pc.flush();
      } catch (error) {
        expect(error, `seed ${seed}`).to.be.instanceOf(BlockError).with.property('code').not.equal('internal');
      }
      const now = filesBelow(lab.path('disk'));
      if (JSON.stringify(now) === JSON.stringify(held)) unchanged++;
      expect(readFileSync(lab.path('outside'), 'utf8'), `seed ${seed}`).to.equal('not ours');
      expect(
        Object.keys(filesBelow(lab.root))
          .filter((name) => !/^(disk|\.disk)\//.test(name))
          .sort(),
        `seed ${seed}`,
      ).to.deep.equal(['machine.raw', 'new', 'outside']);
      pc.poke(0, whole);
      await pc.flush();
      expect(filesBelow(lab.path('disk')), `seed ${seed}`).to.deep.equal(held);
    }
    // Many of them are no whole file system, and some are.
    expect(unchanged).to.be.within(1, seeds.length);
  });
});

/** An empty file in place of the label and the two files behind it. */
function keptImageEntries(): Uint8Array {
  const short = 'DISKWR~1IMG';
  const entry = Buffer.alloc(32);
  entry.write(short);
  const long = longNameBytes('.diskwright-0123456789abcdef.img', Buffer.from(short));
  return Buffer.concat([long, entry]);
}

/** A folder `LOOP` whose cluster is that of the folder which it lies in. */
function loopEntry(): Uint8Array {
  const entry = new Uint8Array(32);
  entry.set(Buffer.from('LOOP       '));
  entry[11] = 0x10;
  entry[26] = 8;
  return entry;
}
