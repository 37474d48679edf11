// The format of a job's target that nobody names: an existing image says it itself, whatever its name ends with.

import { expect } from 'chai';
import { Workshop } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';

describe('the format of the target of mirror and backup', function () {
  this.timeout(120_000);
  let shop: Workshop;

  before(async function () {
    for (const peer of ['qemu-img', 'qemu-io']) requirePeer(this, peer);
    shop = await Workshop.open();
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', 'source', '1M');
    shop.must('qemu-io', '-f', 'qcow2', '-c', 'write -P 5 0 512k', 'source');
  });
  after(() => shop.remove());

  for (const verb of ['mirror', 'backup']) {
    it(`${verb}: an existing qcow2 image is one, also where it is called .raw`, () => {
      shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', 'target.raw', '1M');
      const { code, stderr } = shop.ours(verb, '-q', '--mode=existing', '--target=target.raw', 'source');
      expect({ code, stderr }).to.deep.equal({ code: 0, stderr: '' });
      shop.must('qemu-img', 'compare', '-q', '-f', 'qcow2', '-F', 'qcow2', 'source', 'target.raw');
    });

    it(`${verb} -o help lists what create -o help lists, but for what the job says itself`, () => {
      const created = shop.ours('create', '-f', 'qcow2', '-o', 'help', 'x.qcow2').stdout.split('\n');
      const left = created.filter((line) => !/^ {2}(backing_file|backing_fmt|size)=/.test(line));
      expect(left).to.have.lengthOf(created.length - 3);
      const { code, stdout } = shop.ours(verb, '-o', 'help', '--target=x.qcow2', 'source');
      expect({ code, stdout }).to.deep.equal({ code: 0, stdout: left.join('\n') });
    });
  }
});
