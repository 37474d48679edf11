// What convert and compare say of a compressed cluster that is broken, or cut off: at which byte of the disk it begins, as qemu-img does.

import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { Workshop } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';

const GRAIN = 65536;
const GRAINS = 40;
const MARKER = 12;

describe('the place of a broken cluster beside qemu-img', function () {
  this.timeout(60_000);
  let shop: Workshop;

  before(async function () {
    requirePeer(this, 'qemu-img');
    shop = await Workshop.open();
    writeFileSync(shop.path('raw'), randomBytes(GRAINS * GRAIN));
    shop.must('qemu-img', 'convert', '-O', 'vmdk', '-o', 'subformat=streamOptimized', 'raw', 'whole');
  });
  after(() => shop?.remove());

  const CASES: readonly [what: string, grain: number, damage: (image: Buffer, place: number) => Buffer][] = [
    ['whose data is another', 19, (image, place) => flip(image, place + MARKER + 1000)],
    [
      'whose checksum is another',
      33,
      (image, place) => flip(image, place + MARKER + image.readUInt32LE(place + 8) - 1),
    ],
    ['that is cut off', GRAINS - 1, (image, place) => image.subarray(0, place + GRAIN / 2)],
  ];
  for (const [what, grain, damage] of CASES) {
    it(`names that of a grain ${what}`, () => {
      const whole = readFileSync(shop.path('whole'));
      writeFileSync(shop.path('broken'), damage(whole, placeOf(whole, grain)));
      const converted = /error while reading at byte (\d+): /;
      const compared = /Error while reading offset (\d+) of broken: /;
      for (const [words, place] of [
        [['convert', '-f', 'vmdk', '-O', 'raw', 'broken', 'out'], converted],
        [['compare', '-f', 'vmdk', '-F', 'raw', 'broken', 'raw'], compared],
      ] as const) {
        const [theirs, ours] = [shop.qemuImg(...words), shop.ours(...words)];
        expect(theirs.code).to.not.equal(0);
        expect(ours.code).to.equal(theirs.code);
        expect(place.exec(theirs.stderr)?.[1]).to.equal(String(grain * GRAIN));
        expect(place.exec(ours.stderr)?.[1]).to.equal(String(grain * GRAIN));
      }
    });
  }
});

function flip(image: Buffer, at: number): Buffer {
  image[at] ^= 0x10;
  return image;
}

/** Where the grain's marker is: by the directory's first table. */
function placeOf(image: Buffer, grain: number): number {
  const table = image.readUInt32LE(Number(image.readBigUInt64LE(56)) * 512);
  return image.readUInt32LE(table * 512 + 4 * grain) * 512;
}
