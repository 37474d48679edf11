// map prints what qemu-img prints of an image that cannot be read to its end: what was found before, and no more.

import { expect } from 'chai';
import { Workshop } from '../support/cli.js';
import { Surgery } from './images.js';

const UNALIGNED = 0x200n;

/** Where the damage is. */
const PLACES: readonly (readonly [name: string, operate: (on: Surgery) => void])[] = [
  ['its first L2 entry', (on) => on.setEntry(on.l2, on.entry(on.l2) | UNALIGNED)],
  ['an L2 entry after data and a hole', (on) => on.setEntry(on.l2 + 64, on.entry(on.l2 + 64) | UNALIGNED)],
  ['an L1 entry', (on) => on.setEntry(on.l1 + 8, on.entry(on.l1 + 8) | UNALIGNED)],
];

describe('map beside qemu-img: an image that cannot be read to its end', function () {
  this.timeout(60_000);
  let shop: Workshop;
  before(async () => {
    shop = await Workshop.open();
  });
  after(() => shop.remove());

  function damage(operate: (on: Surgery) => void): void {
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', 'damaged', '1100M');
    shop.qemuIo('damaged', 'write 0 256k', 'write 512k 256k', 'write 600M 64k');
    const surgery = new Surgery(shop.path('damaged'));
    operate(surgery);
    surgery.close();
  }

  for (const [name, operate] of PLACES) {
    it(`because of ${name}`, () => {
      damage(operate);
      for (const output of ['human', 'json']) {
        const words = ['map', '-f', 'qcow2', `--output=${output}`, 'damaged'];
        const { code, stdout, stderr } = shop.ours(...words);
        const theirs = shop.qemuImg(...words);
        expect({ code, stdout }).to.deep.equal({ code: theirs.code, stdout: theirs.stdout });
        expect(code).to.equal(1);
        expect(stderr).to.include('Image is corrupt');
      }
    });
  }

  it('has an array that ends with null beside another image', () => {
    damage(PLACES[1][1]);
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', 'sound', '1M');
    const { code, stdout } = shop.ours('map', '--output=json', 'damaged', 'sound');
    const [damaged, sound] = JSON.parse(stdout) as { length: number }[][];
    expect(damaged.map((entry) => entry?.length ?? null)).to.deep.equal([256 << 10, null]);
    expect(sound.map(({ length }) => length)).to.deep.equal([1 << 20]);
    expect(code).to.equal(1);
  });
});
