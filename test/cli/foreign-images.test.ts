// Images of formats that QEMU has and Diskwright not yet: each verb refuses them by name (tried with one of the formats), and never takes them for raw ones, into which it would write.

import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { knownDriver } from '../../src/block/registry.js';
import { registerDrivers } from '../../src/drivers/index.js';
import { Workshop } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';

registerDrivers();
const FORMATS = ['vmdk', 'vdi', 'vhdx', 'vpc', 'qed', 'parallels', 'qcow'].filter((name) => knownDriver(name) === null);
/** What each verb is called with; IMAGE stands for the image. */
const LINES = [
  'info IMAGE',
  'check -r all IMAGE',
  'map IMAGE',
  'measure -O qcow2 IMAGE',
  'compare IMAGE IMAGE',
  'convert IMAGE new',
  'dd if=IMAGE of=new',
  'resize IMAGE +1M',
  'amend -o compat=v3 IMAGE',
  'snapshot -c one IMAGE',
  'bitmap --add IMAGE one',
  'commit IMAGE',
  'rebase -u -b  IMAGE',
  'bench -w -c 1 IMAGE',
  'stream IMAGE',
  'compact IMAGE',
  'mirror --target=new IMAGE',
  'mirror --mode=existing --target=IMAGE disk.raw',
  'backup --target=new IMAGE',
  'backup --mode=existing --target=IMAGE disk.raw',
  'io -c write_0_512 IMAGE',
  'nbd IMAGE',
];

describe('images of formats that are not here yet', function () {
  this.timeout(120_000);
  let shop: Workshop;
  before(async function () {
    requirePeer(this, 'qemu-img');
    shop = await Workshop.open();
    shop.qemuImg('create', '-q', '-f', 'raw', 'disk.raw', '1M');
    for (const format of FORMATS) shop.qemuImg('create', '-q', '-f', format, `disk.${format}`, '1M');
  });
  after(() => shop.remove());

  for (const format of FORMATS) {
    it(`${format}: is refused by name, and stays as it is`, () => {
      const image = `disk.${format}`;
      const before = readFileSync(shop.path(image));
      for (const line of format === FORMATS[0] ? LINES : LINES.slice(0, 1)) {
        const words = line.split(' ').map((word) => word.replaceAll('_', ' ').replaceAll('IMAGE', image));
        const { code, stderr } = shop.ours(...words);
        expect(code, line).to.be.oneOf([1, 2]);
        expect(stderr, line)
          .to.include(`image format '${format}' is not supported`)
          .and.to.include(`Diskwright does not have the format '${format}' yet`)
          // Nobody has typed a format.
          .and.not.to.include('Did you mean');
      }
      expect(readFileSync(shop.path(image)).equals(before)).to.equal(true);
    });

    it(`${format}: is no backing file, which is said after the words that qemu-img has`, () => {
      const words = ['create', '-f', 'qcow2', '-b', `disk.${format}`, 'overlay'];
      const { code, stderr } = shop.ours(...words, '-F', format);
      expect(code).to.equal(1);
      expect(stderr.trimEnd().split('\n').slice(1)).to.match(
        /^Could not open backing image\.,Diskwright does not have the format/,
      );
    });
  }
});
