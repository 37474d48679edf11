// Images with a damaged L2 entry or L1 entry, alone or as a backing file: convert, salvage and compare name the guest's offset that
// qemu-img names, and salvage keeps what can be read.

import { readFileSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { Workshop } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';

const CLUSTER = 1024;
/** What one L2 table maps. */
const TABLE = 128 * CLUSTER;
const SIZE = 4 * TABLE;
const DAMAGE = Buffer.alloc(8, 0xff);

describe('damaged tables, beside qemu-img', function () {
  this.timeout(60_000);
  let shop: Workshop;

  before(async function () {
    for (const peer of ['qemu-img', 'qemu-io']) requirePeer(this, peer);
    shop = await Workshop.open();
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', `cluster_size=${CLUSTER}`, 'whole', String(SIZE));
    shop.qemuIo('whole', `write -q -P 7 0 ${SIZE}`);
    const whole = readFileSync(shop.path('whole'));
    const l1 = Number(whole.readBigUInt64BE(40));
    const l2 = Number(whole.readBigUInt64BE(l1) & 0x00ff_ffff_ffff_fe00n);
    for (const [name, at] of [
      ['entry', l2 + 10 * 8],
      ['table', l1 + 2 * 8],
    ] as const) {
      const damaged = Buffer.from(whole);
      DAMAGE.copy(damaged, at);
      writeFileSync(shop.path(name), damaged);
      const over = ['-u', '-b', name, '-F', 'qcow2', `over-${name}`, String(SIZE)];
      shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', ...over);
    }
  });
  after(() => shop.remove());

  /** What was read, and how many bytes of it are lost. */
  const cases = [
    ['entry', 10 * CLUSTER, CLUSTER],
    ['over-entry', 10 * CLUSTER, CLUSTER],
    ['table', 2 * TABLE, TABLE],
    ['over-table', 2 * TABLE, TABLE],
  ] as const;
  for (const [name, offset, lost] of cases) {
    it(`convert of ${name} names byte ${offset}`, () => {
      const words = ['convert', '-O', 'raw', name, 'copy'];
      expect(shop.qemuImg(...words).stderr).to.match(new RegExp(`error while reading.* ${offset}: `));
      const { code, stderr } = shop.ours(...words);
      expect(code).to.equal(1);
      expect(stderr).to.match(new RegExp(`^diskwright: error while reading at byte ${offset}: .*corrupt`));
    });

    it(`convert --salvage of ${name} has zeroes there, and says so by the sector`, () => {
      const theirs = shop.qemuImg('convert', '--salvage', '-O', 'raw', name, 'theirs');
      const ours = shop.ours('convert', '--salvage', '-O', 'raw', name, 'ours');
      expect([ours.code, theirs.code]).to.deep.equal([0, 0]);
      expect(readFileSync(shop.path('ours')).equals(readFileSync(shop.path('theirs')))).to.equal(true);
      const offsets = (text: string): string[] =>
        [...text.matchAll(/error while reading offset (\d+)/g)].map(([, at]) => at);
      expect(offsets(ours.stderr)).to.deep.equal(offsets(theirs.stderr));
      expect(offsets(ours.stderr)).to.have.length(lost / 512);
    });

    it(`compare with ${name} names offset ${offset} and the file, on either side`, () => {
      for (const words of [
        ['compare', name, 'whole'],
        ['compare', 'whole', name],
      ]) {
        const { code, stderr } = shop.ours(...words);
        expect(code).to.equal(4);
        expect(stderr).to.match(new RegExp(`^diskwright: Error while reading offset ${offset} of ${name}: .*corrupt`));
        if (lost !== CLUSTER) continue;
        // A table that is lost has no status in qemu-img, which names no offset then.
        expect(shop.qemuImg(...words).stderr).to.contain(`Error while reading offset ${offset} of ${name}: `);
      }
    });

    for (const verb of ['mirror', 'backup', 'stream']) {
      if (verb === 'stream' && name !== `over-${name.slice(5)}`) continue;
      it(`${verb} of ${name} names byte ${offset}`, () => {
        const words = verb === 'stream' ? [verb, name] : [verb, '--target=copy', name];
        const { code, stderr } = shop.ours(...words);
        expect(code).to.equal(1);
        expect(stderr).to.match(new RegExp(`^diskwright: ${verb} failed: '${name.slice(-5)}': at byte ${offset}: `));
      });
    }
  }

  it('compare tells an earlier difference first', () => {
    shop.must('cp', 'whole', 'other');
    shop.qemuIo('other', 'write -q -P 8 2048 512');
    const { code, stdout } = shop.ours('compare', 'entry', 'other');
    expect({ code, stdout }).to.deep.equal({ code: 1, stdout: 'Content mismatch at offset 2048!\n' });
  });
});
