// `check` of a sound VMDK image of every subformat, beside qemu-img: the same words, the same JSON, the same exit code.

import { expect } from 'chai';
import { asOurs, Workshop } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';

const FLAT = ['monolithicFlat', 'twoGbMaxExtentFlat'];
const SUBFORMATS = ['monolithicSparse', 'twoGbMaxExtentSparse', 'streamOptimized', ...FLAT];

describe('check of VMDK beside qemu-img', () => {
  let shop: Workshop;

  before(async function () {
    requirePeer(this, 'qemu-img');
    shop = await Workshop.open();
    for (const subformat of SUBFORMATS) {
      shop.must('qemu-img', 'create', '-q', '-f', 'vmdk', '-o', `subformat=${subformat}`, subformat, '3G');
    }
  });
  after(() => shop?.remove());

  for (const subformat of SUBFORMATS) {
    it(`finds nothing in an image of ${subformat}`, () => {
      for (const words of [[], ['-q'], ['--output=json']]) {
        const theirs = asOurs(shop.qemuImg('check', ...words, subformat));
        expect(theirs.code).to.equal(0);
        expect(shop.ours('check', ...words, subformat)).to.deep.equal(theirs);
      }
    });
  }

  for (const subformat of FLAT) {
    it(`repairs nothing in one of ${subformat}`, () => {
      const theirs = asOurs(shop.qemuImg('check', '-r', 'all', subformat));
      expect(theirs.code).to.equal(63);
      expect(shop.ours('check', '-r', 'all', subformat)).to.deep.equal(theirs);
    });
  }
});
