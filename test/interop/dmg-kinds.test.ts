// What Debian's QEMU does not read of dmg images, beside dmg2img where that does.

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

describe('dmg, what QEMU does not read', function () {
  this.timeout(60_000);
  let shop: Workshop;
  before(async () => {
    shop = await Workshop.open();
  });
  after(() => shop.remove());

  it('chunks of bzip2, lzma and ADC are read', () => {
    const { image, content } = dmgImage({ tables: [[...PACKED, END]] });
    writeFileSync(shop.path('a.dmg'), image);
    expect(shop.ours('convert', '-O', 'raw', 'a.dmg', 'ours').stderr).to.equal('');
    expect(readFileSync(shop.path('ours')).equals(content)).to.equal(true);
  });

  it('they are read as by dmg2img, which knows no lzma', function () {
    requirePeer(this, 'dmg2img');
    const { image, content } = dmgImage({ tables: [[...PACKED.filter(({ kind }) => kind !== Kind.lzma), END]] });
    writeFileSync(shop.path('b.dmg'), image);
    expect(shop.run('dmg2img', 'b.dmg', 'theirs').code).to.equal(0);
    expect(readFileSync(shop.path('theirs')).equals(content)).to.equal(true);
    expect(shop.ours('convert', '-O', 'raw', 'b.dmg', 'ours').stderr).to.equal('');
    expect(readFileSync(shop.path('ours')).equals(content)).to.equal(true);
  });

  it('they are compared with the checksums by check --data, which qemu-img does not have', () => {
    const { image, dataAt } = dmgImage({ tables: [[...PACKED, END]] });
    writeFileSync(shop.path('c.dmg'), image);
    const sound = shop.ours('check', '--data', 'c.dmg');
    expect([sound.code, sound.stdout, sound.stderr]).to.deep.equal([0, 'No errors were found on the image.\n', '']);
    image[dataAt + 100] ^= 1;
    writeFileSync(shop.path('c.dmg'), image);
    const broken = shop.ours('check', '--data', '--output=json', 'c.dmg');
    expect([broken.code, JSON.parse(broken.stdout).corruptions]).to.deep.equal([2, 2]);
    expect(broken.stderr).to.match(/^ERROR: the data fork: the checksum is .*\nERROR: the table 0: /);
    writeFileSync(shop.path('raw'), image);
    expect(shop.ours('check', '--data', 'raw').code).to.equal(63);
    expect(shop.ours('check', '--data', '-r', 'all', 'c.dmg').code).to.equal(1);
    expect(shop.shim('qemu-img', 'check', '--data', 'c.dmg').stderr).to.match(/unrecognized option '--data'/);
  });
});
