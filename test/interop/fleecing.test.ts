// Fleecing with real NBD clients: a disk that a guest writes to is served as it was at one moment.
//
//   guest (nbdsh) --> export 'disk' --> raw --file--> [copy-before-write, put in while it runs] --> file
//   backup (qemu-io, qemu-img) --> export 'moment' --> snapshot-access --> copy-before-write --> target

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { Workshop } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';
import { type Json, StorageDaemon } from '../support/qmp.js';

const MiB = 1 << 20;
const SIZE = 8 * MiB;

/** Writes blocks of a growing number all over the disk until it is killed; each is one line. */
const GUEST = `
import random, sys
random.seed(7)
n = 0
while True:
    n = n % 255 + 1
    offset = random.randrange(h.get_size() // 512 - 64) * 512
    h.pwrite(bytes([n]) * (512 * random.randrange(1, 64)), offset)
    print(n, flush=True)
`;

describe('fleecing', () => {
  let shop: Workshop;
  let daemon: StorageDaemon;
  const uri = (name: string) => `nbd+unix:///${name}?socket=${shop.path('nbd')}`;
  const run = (name: string, words: Json) => daemon.execute(name, words);

  before(async function () {
    for (const peer of ['nbdsh', 'qemu-io', 'qemu-img']) requirePeer(this, peer);
    shop = await Workshop.open();
    daemon = await StorageDaemon.start(shop.path('qmp'), [], [process.execPath, shop.bundle, 'daemon']);
    writeFileSync(shop.path('disk'), Buffer.alloc(SIZE, 0x11));
    writeFileSync(shop.path('kept'), '');
    truncateSync(shop.path('kept'), SIZE);
    await run('nbd-server-start', { addr: { type: 'unix', data: { path: shop.path('nbd') } } });
    for (const name of ['disk', 'kept']) {
      await run('blockdev-add', { driver: 'file', 'node-name': name, filename: shop.path(name) });
    }
    await run('blockdev-add', { driver: 'raw', 'node-name': 'guest', file: 'disk' });
    await run('block-export-add', { type: 'nbd', id: 'g', 'node-name': 'guest', name: 'disk', writable: true });
  });

  after(async () => {
    await daemon?.quit();
    shop?.remove();
  });

  it('serves the moment at which the filter came in, while the guest goes on writing', async () => {
    // The Python of the distribution, which has libnbd.
    const env = { ...process.env, PATH: `/usr/bin:${process.env['PATH']}` };
    const guest = spawn('nbdsh', ['-u', uri('disk'), '-c', GUEST], { env, stdio: ['ignore', 'pipe', 'inherit'] });
    const writes = async (count: number): Promise<void> => {
      for (let lines = 0; lines < count; ) lines += String(await once(guest.stdout, 'data')).split('\n').length - 1;
    };
    try {
      await writes(50);
      await run('blockdev-add', { driver: 'copy-before-write', 'node-name': 'cbw', file: 'disk', target: 'kept' });
      await run('blockdev-reopen', { options: [{ driver: 'raw', 'node-name': 'guest', file: 'cbw' }] });
      await run('blockdev-add', { driver: 'snapshot-access', 'node-name': 'access', file: 'cbw' });
      await run('block-export-add', { type: 'nbd', id: 'm', 'node-name': 'access', name: 'moment' });
      shop.must('qemu-img', 'convert', '-f', 'raw', '-O', 'raw', uri('moment'), shop.path('first'));
      await writes(300);
      shop.must('qemu-img', 'convert', '-f', 'raw', '-O', 'raw', uri('moment'), shop.path('second'));
    } finally {
      guest.kill('SIGKILL');
      await once(guest, 'close');
    }
    const [first, second] = ['first', 'second'].map((name) => readFileSync(shop.path(name)));
    expect(Buffer.compare(first, second), 'the moment changed').to.equal(0);
    expect(Buffer.compare(first, readFileSync(shop.path('disk'))), 'the guest wrote nothing').to.not.equal(0);
  });
});
