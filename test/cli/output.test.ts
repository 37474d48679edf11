// What becomes of a command whose output nobody reads, or that cannot be written.

import { closeSync, openSync, writeSync } from 'node:fs';
import { expect } from 'chai';
import { cliBundle, run, Workshop } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';

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

  it('a pipe that takes nothing more for now gets everything in order', function () {
    requirePeer(this, 'python3');
    const file = openSync(shop.path('holes.raw'), 'w');
    for (let at = 0; at < 2000; at++) writeSync(file, 'x', at * 16384);
    closeSync(file);
    const words = ['map', '-f', 'raw', '--output=json', 'holes.raw'];
    const whole = shop.ours(...words).stdout;
    expect(whole.length).to.be.above(2 * 65536);
    // Reads only when the pipe is full.
    const script = `
import array, fcntl, os, subprocess, sys, termios
end, start = os.pipe()
os.set_blocking(start, False)
child = subprocess.Popen(sys.argv[1:], stdout=start)
os.close(start)
waiting = array.array('i', [0])
while waiting[0] < 65536 and child.poll() is None:
    fcntl.ioctl(end, termios.FIONREAD, waiting)
got = b''.join(iter(lambda: os.read(end, 4096), b''))
sys.stdout.buffer.write(got)
sys.exit(child.wait())`;
    const { code, stdout } = run('python3', ['-c', script, process.execPath, shop.bundle, ...words], shop.folder);
    expect(code).to.equal(0);
    expect(stdout).to.equal(whole);
  });
});
