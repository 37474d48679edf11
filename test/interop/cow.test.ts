// cow images beside the tools of user-mode-linux: uml_mkcow makes them, uml_moo merges them with their backing file.

import { readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { describe, it } from 'mocha';
import { Random } from '../../src/host/sim/index.js';
import { COW_KINDS, cowImage } from '../formats/cow/images.js';
import { Workshop } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';
import { seedsOf, spanOf } from '../support/sample.js';

const SEEDS = seedsOf({ fixed: 6, daily: 4, soak: 200 });
const SECTOR = 512;

/** Without the warning of a backing file that ends within a sector. */
function withoutTail(stderr: string): string {
  return stderr.replace(/^diskwright: warning: The last \d+ bytes of '.*' are no whole sector: .*\n/, '');
}

describe('cow images and the tools of user-mode-linux', function () {
  this.timeout(120_000);
  let shop: Workshop;
  before(async function () {
    requirePeer(this, 'uml_moo');
    shop = await Workshop.open();
  });
  after(() => shop.remove());

  /** What uml_moo makes of the image and its backing file: whole sectors. */
  function merged(): Buffer {
    shop.must('sh', '-c', 'rm -f merged');
    shop.must('uml_moo', 'a.cow', 'merged');
    return readFileSync(shop.path('merged'));
  }

  function ours(): Buffer {
    expect(withoutTail(shop.ours('convert', '-f', 'cow', '-O', 'raw', 'a.cow', 'ours').stderr)).to.equal('');
    return readFileSync(shop.path('ours'));
  }

  function writeBase(random: Random): number {
    const size = random.between(1, 6000) * SECTOR + random.pick([0, 0, 100, 511]);
    const base = Buffer.alloc(size);
    for (let left = random.between(1, 40); left > 0; left--) {
      const from = random.below(size);
      base.fill(random.between(1, 255), from, Math.min(size, from + random.between(1, 20_000)));
    }
    writeFileSync(shop.path('base'), base);
    return size;
  }

  it(`an image is made as by uml_mkcow, byte for byte`, () => {
    writeBase(new Random(1, 1));
    shop.must('sh', '-c', 'rm -f *.cow; uml_mkcow theirs.cow base');
    shop.ours('create', '-q', '-f', 'cow', '-b', shop.path('base'), '-F', 'raw', 'a.cow');
    expect(readFileSync(shop.path('a.cow')).equals(readFileSync(shop.path('theirs.cow')))).to.equal(true);
  });

  it(`what is written is what uml_moo reads; commit empties the image, which uml_moo opens then (${spanOf(SEEDS)})`, () => {
    for (const seed of SEEDS) {
      const random = new Random(seed, 2);
      const size = writeBase(random);
      const disk = size - (size % SECTOR);
      shop.must('sh', '-c', 'rm -f *.cow; uml_mkcow a.cow base');
      const commands: string[] = [];
      for (let left = random.between(1, 30); left > 0; left--) {
        const from = random.below(disk);
        const length = random.between(1, Math.min(disk - from, random.pick([600, 70_000])));
        const action = random.pick(['write', 'write', 'write -z', 'write -zu', 'discard']);
        commands.push('-c', `${action}${action === 'write' ? ` -P ${random.between(1, 255)}` : ''} ${from} ${length}`);
      }
      expect(shop.ours('io', '-f', 'cow', ...commands, 'a.cow').code, `${seed}`).to.equal(0);
      const content = ours();
      expect(content.length, `${seed}`).to.equal(disk);
      expect(merged().equals(content), `${seed}: uml_moo reads the same`).to.equal(true);
      // Long ago, so that the commit changes the date.
      utimesSync(shop.path('base'), 1000, 1000);
      shop.must('sh', '-c', `printf '\\0\\0\\003\\350' | dd of=a.cow bs=1 seek=8 conv=notrunc status=none`);
      expect(withoutTail(shop.ours('commit', '-f', 'cow', 'a.cow').stderr), `${seed}`).to.equal('');
      expect(readFileSync(shop.path('base')).subarray(0, disk).equals(content), `${seed}: committed`).to.equal(true);
      expect(statSync(shop.path('base')).size, `${seed}`).to.equal(size);
      expect(merged().equals(content), `${seed}: after the commit`).to.equal(true);
    }
  });

  it('commit -d leaves the image as uml_moo -d does: with the date of before, so that both tell that the backing file was changed', () => {
    const random = new Random(1, 4);
    const left = ['uml_moo -d', 'commit -d'].map((way) => {
      writeFileSync(shop.path('base'), Buffer.alloc(100 * SECTOR, random.between(1, 255)));
      utimesSync(shop.path('base'), 1000, 1000);
      shop.must('sh', '-c', 'rm -f *.cow; uml_mkcow a.cow base');
      expect(shop.ours('io', '-f', 'cow', '-c', `write -P 7 ${3 * SECTOR} ${9 * SECTOR}`, 'a.cow').code).to.equal(0);
      if (way === 'uml_moo -d') shop.must('uml_moo', '-d', 'a.cow');
      else expect(shop.ours('commit', '-d', '-f', 'cow', 'a.cow').code).to.equal(0);
      const image = readFileSync(shop.path('a.cow'));
      const refused = shop.run('uml_moo', 'a.cow', 'merged');
      expect(refused.code, way).to.equal(1);
      expect(refused.stderr, way).to.match(/mtime mismatch/);
      expect(shop.ours('map', '-f', 'cow', 'a.cow').stderr, way).to.match(/was changed since 'a.cow' was made over it/);
      return image;
    });
    expect(left[0].equals(left[1])).to.equal(true);
  });

  it(`versions 1, 2 and 3 are read as by uml_moo (${spanOf(SEEDS)})`, () => {
    for (const seed of SEEDS) {
      const random = new Random(seed, 3);
      const size = writeBase(random);
      const disk = size - (size % SECTOR);
      if (disk === 0) continue;
      // uml_moo of today has no way to know the last kind.
      const kind = random.pick(COW_KINDS.slice(0, 3));
      const sectors = new Map<number, Uint8Array>();
      for (let left = random.between(0, 100); left > 0; left--) {
        sectors.set(random.below(disk / SECTOR), Buffer.alloc(SECTOR, random.between(1, 255)));
      }
      const date = Math.floor(statSync(shop.path('base')).mtimeMs / 1000);
      writeFileSync(shop.path('a.cow'), cowImage({ kind, size, backing: shop.path('base'), date }, sectors).image);
      expect(merged().equals(ours()), `${seed}, ${kind}`).to.equal(true);
    }
  });
});
