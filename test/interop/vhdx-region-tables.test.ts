// A VHDX image of qemu-img's one of whose region tables is broken: what a check says, and that qemu-img opens the image when it was repaired.

import { readFileSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { Workshop } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';

const ENTRY = 0x14;

describe('vhdx: a broken region table', function () {
  this.timeout(60_000);
  let shop: Workshop;
  before(async function () {
    requirePeer(this, 'qemu-img');
    requirePeer(this, 'qemu-io');
    shop = await Workshop.open();
  });
  after(() => shop?.remove());

  for (const [number, offset] of [
    [1, 0x30000],
    [2, 0x40000],
  ]) {
    it(`of the two, number ${number}, is mended for qemu-img`, () => {
      shop.must('qemu-img', 'create', '-q', '-f', 'vhdx', 'disk', '8M');
      shop.must('qemu-io', '-f', 'vhdx', '-c', 'write -q -P 5 0 64k', 'disk');
      expect(shop.ours('check', 'disk').code).to.equal(0);
      const made = readFileSync(shop.path('disk'));
      const broken = Buffer.from(made);
      broken.write('junk', offset + ENTRY, 'latin1');
      writeFileSync(shop.path('disk'), broken);
      // It looks at the first one alone.
      expect(shop.qemuImg('info', 'disk').code).to.equal(number === 1 ? 1 : 0);

      const words = `Region table ${number}, at ${offset}, is broken: the other one counts\n`;
      const checked = shop.ours('check', 'disk');
      expect([checked.code, checked.stderr]).to.deep.equal([2, words]);
      const mended = shop.ours('check', '-r', 'all', 'disk');
      expect([mended.code, mended.stderr]).to.deep.equal([0, `Repairing: ${words}`]);
      const after = readFileSync(shop.path('disk'));
      expect(after.subarray(0x30000, 0x50000).equals(made.subarray(0x30000, 0x50000))).to.equal(true);
      expect(shop.qemuImg('check', 'disk').code).to.equal(0);
      expect(shop.run('qemu-io', '-f', 'vhdx', '-r', '-c', 'read -q -P 5 0 64k', 'disk')).to.deep.equal({
        code: 0,
        stdout: '',
        stderr: '',
      });
      expect(shop.ours('check', 'disk').code).to.equal(0);
    });
  }
});
