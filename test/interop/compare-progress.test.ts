// `compare -p`, whose output is no terminal, beside qemu-img: the same bytes, also where the images differ.

import { truncateSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { Workshop } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';

const MIB = 1 << 20;

describe('compare -p beside qemu-img', () => {
  let shop: Workshop;

  before(async function () {
    requirePeer(this, 'qemu-img');
    shop = await Workshop.open();
    for (const name of ['zeroes', 'same', 'other']) {
      writeFileSync(shop.path(name), '');
      truncateSync(shop.path(name), 48 * MIB);
    }
    const bytes = Buffer.alloc(48 * MIB);
    bytes[20_000_000] = 1;
    writeFileSync(shop.path('other'), bytes);
  });
  after(() => shop?.remove());

  it('ends behind the outcome where the images are the same', () => {
    const theirs = shop.qemuImg('compare', '-p', 'zeroes', 'same');
    expect(shop.ours('compare', '-p', 'zeroes', 'same')).to.deep.equal(theirs);
  });

  it('does not claim that all was compared where they differ', () => {
    const { code, stdout } = shop.ours('compare', '-p', 'zeroes', 'other');
    expect(code).to.equal(1);
    expect(stdout).to.not.include('100.00');
    expect(stdout).to.match(/\rContent mismatch at offset 19999744!\n\n$/);
  });
});
