// A mounted image under load: fio with checksums, and a loop device with ext4 on it while jobs run underneath. The soak runs longer.

import { execFileSync, spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import { expect } from 'chai';
import { Workshop } from '../../support/cli.js';
import { requireFuse } from '../../support/fuse.js';
import { leaveOut } from '../../support/needs.js';
import { requirePeer } from '../../support/peers.js';
import { StorageDaemon } from '../../support/qmp.js';
import { SOAK } from '../../support/sample.js';

const MIB = 1 << 20;
const SIZE = (SOAK ? 512 : 64) * MIB;

describe('FUSE: a mounted image under load', () => {
  let shop: Workshop;
  let daemon: StorageDaemon;

  before(async function () {
    requirePeer(this, 'fio');
    requirePeer(this, 'qemu-img');
    await requireFuse(this);
    const loop = spawnSync('losetup', ['-f'], { encoding: 'utf8' });
    if (loop.status !== 0 || !fs.existsSync(loop.stdout.trim())) leaveOut(this, 'loop devices');
  });
  beforeEach(async () => {
    shop = await Workshop.open();
    fs.writeFileSync(shop.path('disk'), '');
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', shop.path('a.qcow2'), String(SIZE)]);
    const node = 'qcow2,node-name=a,discard=unmap,file.driver=file,file.filename=a.qcow2,file.discard=unmap';
    const words = ['--blockdev', node, '--export', `fuse,id=e,node-name=a,mountpoint=${shop.path('disk')},writable=on`];
    daemon = await StorageDaemon.start(shop.path('qmp'), words, [process.execPath, shop.bundle, 'daemon']);
  });
  afterEach(() => {
    spawnSync('umount', ['-l', shop.path('root')], { stdio: 'ignore' });
    daemon.kill();
    spawnSync('umount', ['-l', shop.path('disk')], { stdio: 'ignore' });
    shop.remove();
  });

  async function checked(): Promise<void> {
    await daemon.quit();
    execFileSync('qemu-img', ['check', '-q', shop.path('a.qcow2')]);
  }

  it('keeps what 32 requests at a time have written, of any length at any place', async () => {
    const words = [
      '--rw=randrw',
      '--bsrange=512-128k',
      '--bs_unaligned=1',
      '--iodepth=32',
      `--size=${SIZE}`,
      '--verify=crc32c',
      '--verify_fatal=1',
      '--verify_state_save=0',
    ];
    const { status, stdout, stderr } = spawnSync(
      'fio',
      ['--name=v', `--filename=${shop.path('disk')}`, '--ioengine=libaio', '--direct=1', ...words],
      { encoding: 'utf8' },
    );
    expect(status, stdout + stderr).to.equal(0);
    await checked();
  });

  it('carries a file system through a backup, a trim and an end', async () => {
    fs.mkdirSync(shop.path('root'));
    execFileSync('mkfs.ext4', ['-q', '-F', shop.path('disk')]);
    execFileSync('mount', ['-o', 'loop', shop.path('disk'), shop.path('root')]);
    const content = Buffer.from(Uint8Array.from({ length: 8 * MIB }, (_, index) => (index * 31 + (index >> 9)) & 0xff));
    fs.writeFileSync(shop.path('root/one'), content);
    fs.writeFileSync(shop.path('root/gone'), content);
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', shop.path('b.qcow2'), String(SIZE)]);
    await daemon.execute('blockdev-add', {
      driver: 'qcow2',
      'node-name': 'b',
      file: { driver: 'file', filename: shop.path('b.qcow2') },
    });
    execFileSync('sync', ['-f', shop.path('root/one')]);
    const job = daemon.job('blockdev-backup', { 'job-id': 'j', device: 'a', target: 'b', sync: 'full' });
    fs.unlinkSync(shop.path('root/gone'));
    fs.writeFileSync(shop.path('root/two'), content);
    await job;
    execFileSync('fstrim', [shop.path('root')]);
    execFileSync('umount', [shop.path('root')]);
    execFileSync('mount', ['-o', 'loop', shop.path('disk'), shop.path('root')]);
    expect(fs.readFileSync(shop.path('root/one')).equals(content)).to.equal(true);
    expect(fs.readFileSync(shop.path('root/two')).equals(content)).to.equal(true);
    execFileSync('umount', [shop.path('root')]);
    expect(spawnSync('fsck.ext4', ['-fn', shop.path('disk')]).status).to.equal(0);
    await checked();
  });
});
