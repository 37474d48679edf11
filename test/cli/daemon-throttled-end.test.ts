// The daemon ends although requests of its clients wait for a throttle that would let them pass one by one.

import { expect } from 'chai';
import { open } from '../../src/index.js';
import { Workshop } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';
import { StorageDaemon } from '../support/qmp.js';

const WRITES = 60;

describe('the end of a daemon whose device is throttled', () => {
  let shop: Workshop;
  before(async function () {
    requirePeer(this, 'qemu-img');
    shop = await Workshop.open();
  });
  after(() => shop.remove());

  it('lets the requests pass that wait: they would take a minute', async function () {
    this.timeout(30_000);
    const disk = shop.path('throttled.raw');
    const socket = shop.path('nbd.sock');
    shop.must('qemu-img', 'create', '-q', '-f', 'raw', disk, '1M');
    const words = [
      ...['--drive', `id=x,file=${disk},format=raw,throttling.iops-total=1`],
      ...['--nbd-server', `addr.type=unix,addr.path=${socket}`],
      ...['--export', 'nbd,id=x,node-name=x,name=x,writable=on'],
    ];
    const daemon = await StorageDaemon.start(shop.path('qmp'), words, [process.execPath, shop.bundle, 'daemon']);
    try {
      const image = await open(`nbd+unix:///x?socket=${socket}`);
      const writes = Array.from({ length: WRITES }, (_, i) =>
        image.write((i + 128) * 512, new Uint8Array(512).fill(i + 1)),
      );
      const ended = Promise.allSettled(writes);
      // The first is answered: all others have been sent, too.
      await writes[0];
      const began = performance.now();
      daemon.signal('SIGTERM');
      expect(await daemon.end()).to.equal(0);
      expect(performance.now() - began).to.be.below(((WRITES - 10) * 1000) / 2);
      await ended;
      await image.close().catch(() => undefined);
    } finally {
      daemon.kill();
    }
  });
});
