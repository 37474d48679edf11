// `bench` beside qemu-img's: the same lines and errors, and the same requests in the same order, by what a log of the writes says.

import { readFileSync, truncateSync } from 'node:fs';
import { expect } from 'chai';
import { type Outcome, Workshop } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';

const SAME = [
  '-c 30 -f raw raw',
  '-c 30 -d 2 -w --flush-interval=3 -f qcow2 disk',
  '-c 30 -d 2 -w --flush-interval=3 --no-drain --pattern=0x41 disk',
  '-c 3 -s 1M -o 0 -S 3k -t none -n raw',
  '-n -c 3 -f raw raw',
  '-c 3 -o 20M -f raw raw',
  '-c x -t bogus raw',
  '-t bogus -c x raw',
  '-s 4G raw',
  '--pattern=256 raw',
  '--flush-interval=1 -c 3 raw',
  '-w -d 8 --flush-interval=7 raw',
  '-w -U raw',
  '-i bogus gone',
  'gone',
  'raw disk',
];

/** Each write and flush of a run: offset, length. */
function logged(path: string): string[] {
  const log = readFileSync(path);
  const [count, sectorBytes] = [Number(log.readBigUInt64LE(16)), log.readUInt32LE(24)];
  const found: string[] = [];
  for (let n = 0, at = sectorBytes; n < count; n++) {
    const [sector, sectors, flags] = [0, 8, 16].map((field) => Number(log.readBigUInt64LE(at + field)));
    found.push(flags === 1 ? 'flush' : `${sector * sectorBytes}+${sectors * sectorBytes}`);
    at += (1 + sectors) * sectorBytes;
  }
  // What is flushed at the end, when the image is closed, is not of the run.
  while (found.at(-1) === 'flush') found.pop();
  return found;
}

describe('bench', function () {
  this.timeout(60_000);
  let shop: Workshop;
  before(async function () {
    requirePeer(this, 'qemu-img');
    shop = await Workshop.open();
    shop.must('qemu-img', 'create', '-q', '-f', 'raw', 'raw', '16M');
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', 'disk', '16M');
    shop.must('qemu-img', 'create', '-q', '-f', 'raw', 'small', '64k');
  });
  after(() => shop.remove());

  for (const line of SAME) {
    it(`says what qemu-img says: ${line}`, () => {
      const untimed = ({ code, stdout, stderr }: Outcome) => ({
        code,
        stdout: stdout.replace(/in \d+\.\d{3} seconds/, 'in T seconds'),
        stderr,
      });
      const words = ['bench', ...line.split(' ')];
      expect(untimed(shop.shim('qemu-img', ...words))).to.deep.equal(untimed(shop.qemuImg(...words)));
    });
  }

  for (const line of ['-c 12 -s 4k -o 56k', '-c 6 -s 8k -o 56k -S 12k', '-c 7 -s 4k -S 200k --flush-interval=2']) {
    it(`sends the requests that qemu-img sends: ${line}`, () => {
      const image = 'driver=blklogwrites,file.driver=file,file.filename=small,log.driver=file,log.filename=log';
      const words = ['bench', '-w', '-d', '1', ...line.split(' '), '--image-opts', image];
      const sent = [() => shop.qemuImg(...words), () => shop.shim('qemu-img', ...words)].map((run) => {
        shop.must('truncate', '-s', '0', 'log');
        truncateSync(shop.path('log'), 10 << 20);
        expect(run().stderr).to.equal('');
        return logged(shop.path('log'));
      });
      expect(sent[0]).to.have.length.above(5);
      expect(sent[1]).to.deep.equal(sent[0]);
    });
  }

  it('writes the pattern, and nothing else', () => {
    expect(
      shop.ours('bench', '-w', '-c', '3', '-s', '4k', '-o', '8k', '--pattern=7', '-f', 'raw', 'small').code,
    ).to.equal(0);
    const content = readFileSync(shop.path('small'));
    expect(content.subarray(8192, 20480).every((byte) => byte === 7)).to.equal(true);
    expect(content.subarray(20480).some((byte) => byte === 7)).to.equal(false);
  });

  it('refuses what qemu-img dies of, or never ends at', () => {
    expect(shop.ours('bench', '-d', '0', 'raw').stderr).to.equal('diskwright: Invalid queue depth specified\n');
    shop.must('truncate', '-s', '0', 'nothing');
    expect(shop.ours('bench', '-c', '1', '-f', 'raw', 'nothing').stderr).to.equal(
      'diskwright: Failed request: Input/output error\n',
    );
  });
});
