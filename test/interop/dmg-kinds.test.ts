// Chunks of dmg images that Debian's QEMU has no module for, beside dmg2img.

import { readFileSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { describe, it } from 'mocha';
import { type Chunk, chunk, dmgImage, Kind } from '../formats/dmg/images.js';
import { BZIP2, SAMPLE, XZ } from '../formats/dmg/samples.js';
import { Workshop } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';

const END = chunk(Kind.end, Buffer.alloc(0));
const PACKED: readonly Chunk[] = [
  chunk(Kind.adc, SAMPLE),
  { kind: Kind.bzip2, content: SAMPLE, stored: BZIP2 },
  { kind: Kind.lzma, content: SAMPLE, stored: XZ },
  chunk(Kind.adc, Buffer.concat([SAMPLE, Buffer.alloc(65536, 3), SAMPLE])),
];

describe('dmg, the kinds that QEMU has no module for', function () {
  this.timeout(60_000);
  let shop: Workshop;
  before(async () => {
    shop = await Workshop.open();
  });
  after(() => shop.remove());

  it('are read: bzip2, lzma and ADC', () => {
    const { image, content } = dmgImage({ tables: [[...PACKED, END]] });
    writeFileSync(shop.path('a.dmg'), image);
    expect(shop.ours('convert', '-O', 'raw', 'a.dmg', 'ours').stderr).to.equal('');
    expect(readFileSync(shop.path('ours')).equals(content)).to.equal(true);
  });

  it('are read as dmg2img does, which knows no lzma', function () {
    requirePeer(this, 'dmg2img');
    const { image, content } = dmgImage({ tables: [[...PACKED.filter(({ kind }) => kind !== Kind.lzma), END]] });
    writeFileSync(shop.path('b.dmg'), image);
    expect(shop.run('dmg2img', 'b.dmg', 'theirs').code).to.equal(0);
    expect(readFileSync(shop.path('theirs')).equals(content)).to.equal(true);
    expect(shop.ours('convert', '-O', 'raw', 'b.dmg', 'ours').stderr).to.equal('');
    expect(readFileSync(shop.path('ours')).equals(content)).to.equal(true);
  });
});
