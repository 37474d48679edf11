// The space that a new image takes: what create and convert allocate beside qemu-img, which clusters a compressed copy has.

import { rmSync, statSync } from 'node:fs';
import { expect } from 'chai';
import { Workshop } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';

const SIZES = ['0', '1', '513', '4097', '1M'];
const PREALLOCATIONS = [[], ['-o', 'preallocation=off'], ['-o', 'preallocation=falloc'], ['-o', 'preallocation=full']];

describe('space of new images, beside qemu-img', function () {
  this.timeout(120_000);
  let shop: Workshop;

  before(async function () {
    for (const peer of ['qemu-img', 'qemu-io']) requirePeer(this, peer);
    shop = await Workshop.open();
  });
  after(() => shop.remove());

  const sizes = (name: string) => {
    const { size, blocks } = statSync(shop.path(name));
    return { size, blocks };
  };

  for (const options of PREALLOCATIONS) {
    it(`a raw image made with '${options.join(' ')}' has the size and the blocks that qemu-img gives it`, () => {
      for (const size of SIZES) {
        shop.must('qemu-img', 'create', '-q', '-f', 'raw', ...options, 'theirs.raw', size);
        const made = shop.ours('create', '-q', '-f', 'raw', ...options, 'ours.raw', size);
        expect(made.stderr, size).to.equal('');
        expect(sizes('ours.raw'), size).to.deep.equal(sizes('theirs.raw'));
        for (const name of ['ours.raw', 'theirs.raw']) rmSync(shop.path(name));
      }
    });
  }

  it('a raw copy has its first block, and no block more than that of qemu-img', () => {
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', 'source.qcow2', '1M');
    shop.qemuIo('source.qcow2', 'write -q -P 5 256k 64k');
    for (const options of [[], ['-S', '0'], ['-S', '8k'], ['-o', 'preallocation=falloc']]) {
      shop.must('qemu-img', 'convert', ...options, '-O', 'raw', 'source.qcow2', 'theirs.raw');
      expect(shop.ours('convert', ...options, '-O', 'raw', 'source.qcow2', 'ours.raw').stderr).to.equal('');
      expect(sizes('ours.raw'), options.join(' ')).to.deep.equal(sizes('theirs.raw'));
    }
  });

  /** The runs of an image, without where they lie. */
  const runs = (name: string) =>
    JSON.parse(shop.must('qemu-img', 'map', '--output=json', name)).map(
      ({ start, length, data, zero }: Record<string, unknown>) => ({ start, length, data, zero }),
    );

  for (const clusterSize of ['512', '1k', '2k', '4k', '64k']) {
    it(`a compressed copy in clusters of ${clusterSize} has those that qemu-img writes`, () => {
      shop.must('qemu-img', 'create', '-q', '-f', 'raw', 'scattered.raw', '1M');
      shop.qemuIo('scattered.raw', 'write -q -P 5 0 1k', 'write -q -P 6 100k 1k', 'write -q -P 7 333k 9k');
      for (const sparse of [[], ['-S', '0'], ['-S', '512'], ['-S', '8k']]) {
        const words = ['convert', '-c', ...sparse, '-O', 'qcow2', '-o', `cluster_size=${clusterSize}`, 'scattered.raw'];
        shop.must('qemu-img', ...words, 'theirs.qcow2');
        expect(shop.ours(...words, 'ours.qcow2').stderr).to.equal('');
        expect(runs('ours.qcow2'), sparse.join(' ')).to.deep.equal(runs('theirs.qcow2'));
        expect(shop.qemuImg('compare', 'scattered.raw', 'ours.qcow2').code).to.equal(0);
      }
    });
  }
});
