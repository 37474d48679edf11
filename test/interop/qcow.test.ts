// qcow beside QEMU's tools: encrypted images by passwords of every length, and compressed ones, each written on one side and read on the other.

import { readFileSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { describe, it } from 'mocha';
import { Random } from '../../src/host/sim/index.js';
import { Workshop } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';
import { seedsOf, spanOf, timeLimit } from '../support/sample.js';

const SEEDS = seedsOf({ fixed: 4, daily: 2, soak: 100 });
const SECTOR = 512;

function drawContent(random: Random): Buffer {
  const content = Buffer.alloc(random.between(1, 3000) * SECTOR);
  for (let left = random.between(1, 30); left > 0; left--) {
    const from = random.below(content.length);
    const to = Math.min(content.length, from + random.between(1, 60_000));
    if (random.chance(0.5)) content.fill(random.below(256), from, to);
    else for (let at = from; at < to; at++) content[at] = random.below(256);
  }
  return content;
}

describe('qcow beside QEMU', function () {
  this.timeout(timeLimit(120_000));
  let shop: Workshop;
  before(async function () {
    requirePeer(this, 'qemu-img');
    shop = await Workshop.open();
  });
  after(() => shop.remove());

  type Side = 'ours' | 'qemuImg';
  const good = (side: Side, ...words: string[]): void => {
    expect(shop[side](...words), words.join(' ')).to.include({ code: 0, stderr: '' });
  };

  it(`encrypts as QEMU does, and reads what it has encrypted (${spanOf(SEEDS)})`, () => {
    for (const seed of SEEDS) {
      const random = new Random(seed, 31);
      writeFileSync(shop.path('raw'), drawContent(random));
      // A key is 16 bytes: longer passwords are cut, shorter ones are filled with zeroes.
      const password = 'abcdefghijklmnopqrstuvwxyz'.slice(0, random.pick([1, 8, 15, 16, 17, 26]));
      const secret = ['--object', `secret,id=s,data=${password}`];
      const make = [...secret, '-O', 'qcow', '-o', 'encrypt.format=aes,encrypt.key-secret=s'];
      const read = [...secret, '--image-opts', 'driver=qcow,encrypt.key-secret=s,file.filename=image', '-O', 'raw'];
      for (const [writer, reader] of [
        ['ours', 'qemuImg'],
        ['qemuImg', 'ours'],
      ] as const) {
        good(writer, 'convert', ...make, 'raw', 'image');
        good(reader, 'convert', ...read, 'copy');
        expect(readFileSync(shop.path('copy')).equals(readFileSync(shop.path('raw'))), `seed ${seed}`).to.equal(true);
      }
    }
  });

  it(`compresses for QEMU, and reads what it has compressed (${spanOf(SEEDS)})`, () => {
    for (const seed of SEEDS) {
      const random = new Random(seed, 32);
      writeFileSync(shop.path('raw'), drawContent(random));
      good('ours', 'convert', '-c', '-O', 'qcow', 'raw', 'image');
      good('qemuImg', 'convert', '-f', 'qcow', '-O', 'raw', 'image', 'copy');
      expect(readFileSync(shop.path('copy')).equals(readFileSync(shop.path('raw'))), `seed ${seed}`).to.equal(true);
      // When all is written, QEMU 7.2 says that it failed, without a word: what it has made is whole.
      expect(shop.qemuImg('convert', '-c', '-O', 'qcow', 'raw', 'image').stderr).to.equal('');
      good('ours', 'convert', '-f', 'qcow', '-O', 'raw', 'image', 'copy');
      expect(readFileSync(shop.path('copy')).equals(readFileSync(shop.path('raw'))), `seed ${seed}`).to.equal(true);
      const map = ['map', '--output=json', '-f', 'qcow', 'image'];
      expect(shop.ours(...map)).to.deep.equal(shop.qemuImg(...map));
    }
  });
});
