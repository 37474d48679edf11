// Sizes around every boundary, beside the real tool: what an image is said to be, what its map is, and what a copy of it becomes.

import { randomBytes } from 'node:crypto';
import { rmSync, statSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { asOurs, type Outcome, Workshop } from '../support/cli.js';

const SIZES = [0, 1, 511, 512, 513, 4095, 4097, 65535, 65536, 65537, (1 << 20) - 1, (1 << 20) + 1];
/** Also copied: that takes many processes. */
const COPIED = [0, 1, 513, 65537];

describe('sizes that are no whole sectors, as qemu-img has them', () => {
  let shop: Workshop;
  before(async () => {
    shop = await Workshop.open();
  });
  after(() => shop.remove());

  const map = (outcome: Outcome) =>
    (JSON.parse(outcome.stdout) as Record<string, unknown>[]).map(({ compressed: _, ...entry }) => entry);
  const size = (outcome: Outcome) => (JSON.parse(outcome.stdout) as Record<string, unknown>)['virtual-size'];

  for (const bytes of SIZES) {
    it(`a raw file of ${bytes} bytes`, () => {
      writeFileSync(shop.path('r'), randomBytes(bytes));
      const both = (...words: string[]): [Outcome, Outcome] => [shop.ours(...words), asOurs(shop.qemuImg(...words))];
      const [info, theirInfo] = both('info', '-f', 'raw', '--output=json', 'r');
      expect(size(info)).to.equal(size(theirInfo));
      const [ours, theirs] = both('map', '-f', 'raw', '--output=json', 'r');
      expect(map(ours)).to.deep.equal(map(theirs));
      for (const format of COPIED.includes(bytes) ? ['raw', 'qcow2'] : []) {
        expect(shop.ours('convert', '-f', 'raw', '-O', format, 'r', 'c').code).to.equal(0);
        expect(shop.qemuImg('convert', '-f', 'raw', '-O', format, 'r', 'd').code).to.equal(0);
        expect(size(shop.qemuImg('info', '--output=json', '-f', format, 'c'))).to.equal(
          size(shop.qemuImg('info', '--output=json', '-f', format, 'd')),
        );
        if (format === 'raw') expect(statSync(shop.path('c')).size).to.equal(statSync(shop.path('d')).size);
        expect(shop.qemuImg('compare', '-f', 'raw', '-F', format, 'r', 'c').code).to.equal(0);
        expect(shop.ours('compare', '-f', 'raw', '-F', format, 'r', 'd').code).to.equal(0);
        rmSync(shop.path('c'));
        rmSync(shop.path('d'));
      }
    });
  }
});
