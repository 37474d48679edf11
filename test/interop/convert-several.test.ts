// convert of several images into one, with qemu-img: the same sources and options to both make images with the same content.

import { writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { Random } from '../../src/host/sim/random.js';
import { Workshop } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';
import { repeats, seedOf, timeLimit } from '../support/sample.js';

const SEED = seedOf(7);
const COMMANDS = repeats(6, 500);

/** Makes an image with data and zeroes in places that fit no cluster. */
function makeImage(shop: Workshop, random: Random, name: string): void {
  const size = random.between(1, 2000) * 512;
  if (random.chance(0.3)) {
    const bytes = Buffer.alloc(size - random.between(0, 511));
    for (let i = random.between(0, 3); i > 0; i--) {
      const at = random.between(0, bytes.length - 1);
      bytes.subarray(at, at + random.between(1, 100_000)).fill(i);
    }
    writeFileSync(shop.path(name), bytes);
    return;
  }
  const options = random.pick([
    'cluster_size=512',
    'cluster_size=4k',
    'extended_l2=on',
    'compat=0.10',
    'refcount_bits=8',
  ]);
  shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', options, name, String(size));
  for (let i = random.between(0, 4); i > 0; i--) {
    const at = random.between(0, size - 1);
    const what = random.chance(0.3) ? 'write -z' : `write -P ${i}`;
    shop.qemuIo(name, `${what} ${at} ${random.between(1, size - at)}`);
  }
}

describe('convert of several images, beside qemu-img', function () {
  this.timeout(timeLimit(120_000));
  let shop: Workshop;

  before(async function () {
    for (const peer of ['qemu-img', 'qemu-io']) requirePeer(this, peer);
    shop = await Workshop.open();
  });
  after(() => shop?.remove());

  it(`${COMMANDS} conversions make the same (seed ${SEED})`, () => {
    const names = ['a', 'b', 'c', 'd'];
    for (let i = 0; i < COMMANDS; i++) {
      const random = new Random(SEED + i);
      for (const name of names) makeImage(shop, random, name);
      const format = random.pick(['raw', 'qcow2', 'qcow2']);
      const words = ['convert', '-O', format];
      const more = random.pick([[], ['-C'], ['-S', '0'], ['-S', '512'], ['-S', '64k'], ['-c']]);
      if (format === 'qcow2' || more[0] !== '-c') words.push(...more);
      if (format === 'qcow2') words.push('-o', random.pick(['cluster_size=512', 'cluster_size=2M', 'extended_l2=on']));
      words.push(...Array.from({ length: random.between(2, 6) }, () => random.pick(names)));
      const case_ = `seed ${SEED + i}: ${words.join(' ')}`;
      expect(shop.ours(...words, 'ours'), case_).to.deep.equal(shop.qemuImg(...words, 'theirs'));
      expect(shop.qemuImg('compare', '-f', format, '-F', format, 'ours', 'theirs').stdout, case_).to.equal(
        'Images are identical.\n',
      );
      if (format === 'qcow2') expect(shop.qemuImg('check', 'ours').code, case_).to.equal(0);
    }
  });
});
