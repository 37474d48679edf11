// Copies into formats of large blocks, beside qemu-img: a block of which a part is written keeps holes.

import { statSync } from 'node:fs';
import { expect } from 'chai';
import { Workshop } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';

const FORMATS: [format: string, ...words: string[]][] = [
  ['vhdx'],
  ['vhdx', '-o', 'block_size=32M'],
  ['vdi'],
  ['vpc', '-o', 'force_size=on'],
  ['parallels'],
];
/** Metadata, and what is allocated beside it. */
const SLACK_BYTES = 1 << 20;

describe('copies into large blocks, beside qemu-img', function () {
  this.timeout(120_000);
  let shop: Workshop;

  before(async function () {
    for (const peer of ['qemu-img', 'qemu-io']) requirePeer(this, peer);
    shop = await Workshop.open();
    shop.must('qemu-img', 'create', '-q', '-f', 'raw', 'source.raw', '100000k');
    // Data beside data, across borders of blocks, at the end; and zeroes that are data of the file.
    shop.qemuIo('source.raw', 'write -q -P 1 4k 12k', 'write -q -P 2 1020k 8k', 'write -q -P 3 8188k 100k');
    shop.qemuIo('source.raw', 'write -q -P 0 20M 9M', 'write -q -P 4 24M 4k', 'write -q -P 5 33M 600k');
    shop.qemuIo('source.raw', 'write -q -P 6 47M 3M', 'write -q -P 7 99996k 4k');
    shop.must('qemu-img', 'convert', '-O', 'qcow2', 'source.raw', 'source.qcow2');
  });
  after(() => shop.remove());

  const allocated = (name: string) => statSync(shop.path(name)).blocks * 512;

  for (const [format, ...words] of FORMATS) {
    for (const source of ['source.raw', 'source.qcow2']) {
      it(`convert of ${source} to ${[format, ...words].join(' ')} takes no more space than qemu-img's`, () => {
        shop.must('qemu-img', 'convert', '-O', format, ...words, source, 'theirs');
        expect(shop.ours('convert', '-O', format, ...words, source, 'ours').stderr).to.equal('');
        expect(allocated('ours')).to.be.at.most(allocated('theirs') + SLACK_BYTES);
        const compared = shop.qemuImg('compare', '-f', 'raw', '-F', format, 'source.raw', 'ours');
        expect([compared.code, compared.stdout]).to.deep.equal([0, 'Images are identical.\n']);
      });
    }

    it(`backup of a disk to ${[format, ...words].join(' ')} leaves holes, too`, () => {
      const made = shop.ours('backup', '-f', 'raw', 'source.raw', '--target=ours', `--format=${format}`, ...words);
      expect([made.code, made.stderr]).to.deep.equal([0, '']);
      expect(allocated('ours')).to.be.at.most(allocated('source.raw') + 5 * SLACK_BYTES);
      expect(shop.qemuImg('compare', '-f', 'raw', '-F', format, 'source.raw', 'ours').code).to.equal(0);
    });
  }
});
