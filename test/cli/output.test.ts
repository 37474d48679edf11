// What becomes of a command whose output nobody reads, or that cannot be written.

import { expect } from 'chai';
import { cliBundle, run, Workshop } from '../support/cli.js';

describe('command line: output', () => {
  let shop: Workshop;
  let program: string;

  beforeEach(async () => {
    shop = await Workshop.open();
    program = `${process.execPath} ${await cliBundle()}`;
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', 'disk.qcow2', '8M');
    shop.qemuIo('disk.qcow2', 'write -P 7 0 8M');
  });
  afterEach(() => shop.remove());

  it('a conversion whose progress nobody reads is brought to its end', () => {
    const script = `${program} convert -p -r 40M -O raw disk.qcow2 disk.raw | head -c 1; echo " $PIPESTATUS"`;
    const { stdout, stderr } = run('bash', ['-c', script], shop.folder);
    expect({ stdout: stdout.trim(), stderr }).to.deep.equal({ stdout: '0', stderr: '' });
    expect(shop.ours('compare', 'disk.qcow2', 'disk.raw').code).to.equal(0);
  });

  it('output that cannot be written is an error of one line', () => {
    const { code, stderr } = run('bash', ['-c', `${program} info disk.qcow2 > /dev/full`], shop.folder);
    expect(code).to.equal(1);
    expect(stderr).to.equal('diskwright: error while writing to standard output: No space left on device\n');
  });
});
