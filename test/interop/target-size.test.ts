// A target that is there already has the source's size, or mirror and backup refuse it, in the words of qemu-storage-daemon.

import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { Workshop } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';
import { StorageDaemon } from '../support/qmp.js';

const SIZE = 2 << 20;
const WORDS = 'Source and target image have different sizes';

describe('a target of another size, beside qemu-storage-daemon', function () {
  this.timeout(60_000);
  let shop: Workshop;

  before(async function () {
    for (const peer of ['qemu-img', 'qemu-storage-daemon']) requirePeer(this, peer);
    shop = await Workshop.open();
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', 'base', String(SIZE));
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', 'base', '-F', 'qcow2', 'top');
  });
  after(() => shop.remove());

  /** What the peer's mirror ends with. */
  async function peerSays(sync: string): Promise<string> {
    const words = ['top', 'target'].flatMap((name) => [
      '--blockdev',
      `driver=qcow2,node-name=${name},file.driver=file,file.filename=${shop.path(name)}`,
    ]);
    const daemon = await StorageDaemon.start(shop.path('qmp'), words);
    try {
      await daemon.execute('blockdev-mirror', { 'job-id': 'job', device: 'top', target: 'target', sync });
      return String((await daemon.event('BLOCK_JOB_COMPLETED'))['error']);
    } finally {
      await daemon.quit();
    }
  }

  for (const sync of ['full', 'top', 'none']) {
    for (const [which, size] of [
      ['smaller', SIZE / 2],
      ['larger', SIZE * 2],
    ] as const) {
      it(`mirror --sync=${sync} refuses a ${which} target and leaves it as it was`, async () => {
        shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', 'target', String(size));
        const kept = readFileSync(shop.path('target'));
        expect(await peerSays(sync)).to.equal(WORDS);
        const { code, stderr } = shop.ours('mirror', `--sync=${sync}`, '--mode=existing', '--target=target', 'top');
        expect({ code, stderr }).to.deep.equal({ code: 1, stderr: `diskwright: ${WORDS}\n` });
        expect(readFileSync(shop.path('target')).equals(kept)).to.equal(true);
      });
    }
  }
});
