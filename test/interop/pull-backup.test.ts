// A backup that a client pulls, with the commands that libvirt sends for virtnbdbackup: full at one checkpoint, incremental at the next, with a
// guest that writes meanwhile. The reference takes the same commands, and both backups must be the disk as it was at its checkpoint.
//
//   guest (qemu-io) --> export 'vda' --> disk (qcow2)     with bitmaps check1, check2
//                                          ^ backing      before the guest's write: the old content goes to scratch (blockdev-backup, sync none)
//   backup (nbdsh)  --> export 'pull' --> scratch (qcow2) with `qemu:dirty-bitmap:changed` of the disk below

import { readFileSync, rmSync } from 'node:fs';
import { expect } from 'chai';
import { Workshop } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';
import { type Json, StorageDaemon } from '../support/qmp.js';

const SIZE = 4 << 20;

/** Pulls the whole disk. */
const FULL = `
import os
h.connect_uri(os.environ['URI'])
data = h.pread(h.get_size(), 0)
open(os.environ['BACKUP'], 'wb').write(data)
`;

/** Pulls what the bitmap says has changed, into the file of the backup before. Prints the bytes that it pulled. */
const CHANGED = `
import os
h.add_meta_context('qemu:dirty-bitmap:changed')
h.connect_uri(os.environ['URI'])
size, at, pulled = h.get_size(), 0, 0
extents = []
def entry(context, offset, entries, error):
    if context == 'qemu:dirty-bitmap:changed':
        extents.extend(zip(entries[::2], entries[1::2]))
out = open(os.environ['BACKUP'], 'r+b')
h.block_status(size, 0, entry)
for length, flags in extents:
    if flags & 1:
        out.seek(at)
        out.write(h.pread(length, at))
        pulled += length
    at += length
assert at == size
print(pulled)
`;

const DAEMONS: Record<string, (shop: Workshop) => readonly string[]> = {
  diskwright: (shop) => [process.execPath, shop.bundle, 'daemon'],
  'qemu-storage-daemon': () => ['qemu-storage-daemon'],
};

describe('a backup that is pulled', () => {
  for (const [name, program] of Object.entries(DAEMONS)) {
    it(`is the disk at its checkpoint, full and incremental, from ${name}`, async function () {
      for (const peer of ['nbdsh', 'qemu-io', 'qemu-img', 'qemu-storage-daemon']) requirePeer(this, peer);
      const shop = await Workshop.open();
      let daemon: StorageDaemon | undefined;
      try {
        shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', shop.path('disk'), String(SIZE));
        shop.must('qemu-io', '-f', 'qcow2', '-c', 'write -P 1 0 3M', shop.path('disk'));
        daemon = await StorageDaemon.start(shop.path('qmp'), [], program(shop));
        await pullTwice(shop, daemon);
      } finally {
        await daemon?.quit();
        shop.remove();
      }
    });
  }
});

async function pullTwice(shop: Workshop, daemon: StorageDaemon): Promise<void> {
  const run = (command: string, words?: Json) => daemon.execute(command, words);
  const uri = (name: string) => `nbd+unix:///${name}?socket=${shop.path('nbd')}`;
  const guestWrites = (byte: number, range: string) =>
    shop.must('qemu-io', '-f', 'raw', '-c', `write -P ${byte} ${range}`, uri('vda'));
  const nbdsh = (script: string) => {
    // The Python of the distribution, which has libnbd.
    const words = [`PATH=/usr/bin:${process.env['PATH']}`, `BACKUP=${shop.path('backup')}`, `URI=${uri('pull')}`];
    return shop.must('env', ...words, 'nbdsh', '-c', script);
  };

  const file = { driver: 'file', filename: shop.path('disk') };
  await run('blockdev-add', { driver: 'qcow2', 'node-name': 'disk', file });
  await run('nbd-server-start', { addr: { type: 'unix', data: { path: shop.path('nbd') } } });
  await run('block-export-add', { type: 'nbd', id: 'vda', 'node-name': 'disk', name: 'vda', writable: true });

  /** From the checkpoint `next` on the old content is kept; `since` is the checkpoint that the client has already. */
  const begin = async (next: string, since: string | null) => {
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', shop.path('scratch'), String(SIZE));
    const scratch = { driver: 'file', filename: shop.path('scratch') };
    await run('blockdev-add', { driver: 'qcow2', 'node-name': 'scratch', file: scratch, backing: 'disk' });
    const bitmap = (name: string, more: Json = {}) => ({ node: 'disk', name, ...more });
    const actions: Json[] = [
      { type: 'block-dirty-bitmap-add', data: bitmap(next) },
      { type: 'blockdev-backup', data: { 'job-id': 'pull', device: 'disk', target: 'scratch', sync: 'none' } },
    ];
    if (since !== null) {
      actions.push(
        { type: 'block-dirty-bitmap-disable', data: bitmap(since) },
        { type: 'block-dirty-bitmap-add', data: bitmap('changed', { disabled: true }) },
        { type: 'block-dirty-bitmap-merge', data: { node: 'disk', target: 'changed', bitmaps: [since] } },
      );
    }
    await run('transaction', { actions });
    const bitmaps = since === null ? {} : { bitmaps: [{ node: 'disk', name: 'changed' }] };
    await run('block-export-add', { type: 'nbd', id: 'pull', 'node-name': 'scratch', name: 'pull', ...bitmaps });
  };
  const end = async () => {
    await run('block-export-del', { id: 'pull' });
    while ((await daemon.event('BLOCK_EXPORT_DELETED'))['id'] !== 'pull');
    await run('block-job-cancel', { device: 'pull' });
    while ((await daemon.event('JOB_STATUS_CHANGE'))['status'] !== 'null');
    await run('blockdev-del', { 'node-name': 'scratch' });
    rmSync(shop.path('scratch'));
  };
  const expected = (...parts: [number, number][]) =>
    Buffer.concat(parts.map(([byte, kib]) => Buffer.alloc(kib << 10, byte)));

  await begin('check1', null);
  guestWrites(2, '512k 64k');
  nbdsh(FULL);
  await end();
  expect(readFileSync(shop.path('backup')).equals(expected([1, 3072], [0, 1024])), 'the full backup').to.equal(true);

  guestWrites(3, '3M 128k');
  await begin('check2', 'check1');
  guestWrites(4, '0 1M');
  const pulled = nbdsh(CHANGED);
  await end();
  await run('block-dirty-bitmap-remove', { node: 'disk', name: 'changed' });
  const atSecond = expected([1, 512], [2, 64], [1, 2496], [3, 128], [0, 896]);
  expect(readFileSync(shop.path('backup')).equals(atSecond), 'the incremental backup').to.equal(true);
  expect(Number(pulled), 'the bytes that the guest wrote between the checkpoints').to.equal(192 << 10);
}
