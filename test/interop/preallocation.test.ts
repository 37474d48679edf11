// Images with preallocated clusters, made by both: the map says of them what qemu-img's does (data that reads as zeroes, where only the
// metadata was preallocated), over NBD it is what qemu-nbd says, and a copy of one is sparse and right.

import { readFileSync, statSync } from 'node:fs';
import { expect } from 'chai';
import { Workshop } from '../support/cli.js';
import { NbdProcess } from '../support/nbd-process.js';
import { requirePeer } from '../support/peers.js';

const MIB = 1 << 20;

describe('preallocation', () => {
  let bench: Workshop;
  before(async function () {
    for (const peer of ['qemu-img', 'qemu-io', 'qemu-nbd', 'nbdinfo']) requirePeer(this, peer);
    bench = await Workshop.open();
  });
  after(() => bench?.remove());

  const map = (who: 'ours' | 'qemuImg'): string => bench[who]('map', '--output=json', 'a.qcow2').stdout;

  for (const clusterSize of ['512', '4k', '64k', '2M']) {
    for (const mode of ['off', 'metadata', 'falloc', 'full']) {
      it(`maps an image with clusters of ${clusterSize} and preallocation=${mode} as qemu-img does`, () => {
        for (const maker of ['ours', 'qemuImg'] as const) {
          const options = `cluster_size=${clusterSize},preallocation=${mode}`;
          expect(bench[maker]('create', '-q', '-f', 'qcow2', '-o', options, 'a.qcow2', '3M').code).to.equal(0);
          expect(map('ours'), maker).to.equal(map('qemuImg'));
        }
      });
    }
  }

  it('goes on asking the file until about as much is written as is allocated', () => {
    bench.must('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', 'preallocation=metadata', 'a.qcow2', '10M');
    for (const clusters of [1, 100, 134, 142, 150, 158]) {
      bench.qemuIo('a.qcow2', `write -P 7 0 ${clusters * 64}k`);
      expect(map('ours'), `${clusters} clusters`).to.equal(map('qemuImg'));
    }
  });

  it('is told over NBD, and copied, as what it is', async () => {
    bench.must('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', 'preallocation=metadata', 'a.qcow2', '10M');
    bench.qemuIo('a.qcow2', 'write -P 7 1M 1M', 'write -P 8 5000k 3k');
    const maps: string[] = [];
    for (const server of ['diskwright', 'qemu-nbd'] as const) {
      const started = await NbdProcess.start(server, bench.path('s'), ['-t', '-f', 'qcow2', 'a.qcow2'], bench.folder);
      maps.push(bench.must('nbdinfo', '--map', started.uri));
      await started.stop();
    }
    expect(maps[0]).to.equal(maps[1]);
    for (const who of ['ours', 'qemuImg'] as const) {
      expect(bench[who]('convert', '-f', 'qcow2', '-O', 'raw', 'a.qcow2', who).code).to.equal(0);
    }
    expect(readFileSync(bench.path('ours')).equals(readFileSync(bench.path('qemuImg')))).to.equal(true);
    expect(statSync(bench.path('ours')).blocks * 512).to.be.below(2 * MIB);
  });
});
