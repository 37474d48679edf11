// A real PC on a disk of ours, in this process: v86 boots GRUB and Debian's Linux for i386 from a qcow2 chain. The guest goes on from test
// to test, as booting is what takes the time.

import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { BlockError, type Image, openRealHost, Workspace } from '../../../src/index.js';
import { deviceOf } from '../../../src/library/image.js';
import { failureOf } from '../../drivers/support.js';
import { requirePeer } from '../../support/peers.js';
import { type GuestDisk, guestDisk, PARTITION_OFFSET, PROGRAMS } from './guest-disk.js';
import { Pc } from './pc.js';

const MiB = 1024 ** 2;
/** It takes 16 s on a machine that has nothing else to do. */
const BOOT_LIMIT_MS = 180_000;
const BOOT_ATTEMPTS = 3;

function must(program: string, ...words: string[]): string {
  const { status, stdout, stderr } = spawnSync(program, words, { encoding: 'utf8', env: PROGRAMS });
  if (status !== 0) throw new Error(`${program} ${words.join(' ')} ended with ${status}: ${stdout}${stderr}`);
  return stdout;
}

/** Writes files into /mnt/w without end, each made durable before its checksum, until /stop is there. */
const WORK = [
  '(mkdir -p /mnt/w; cd /mnt/w; i=0; while ! [ -e /stop ]; do i=$((i+1)); f=$((i%8))',
  'rm -f $f.md5; head -c 100000 /dev/urandom > $f; sync $f; md5sum $f > $f.md5; sync $f.md5',
  'echo $i > /count.new; mv /count.new /count; done; touch /stopped) &',
].join('; ');

describe('v86 with a qcow2 disk', function () {
  this.timeout(600_000);
  // Each test needs what the one before it left.
  this.bail(true);
  let parts: GuestDisk;
  let folder: string;
  let workspace: Workspace;
  let image: Image;
  let pc: Pc;
  const machines: Pc[] = [];

  const path = (name: string) => join(folder, name);
  const boot = (disk: Image): Pc => {
    const machine = new Pc(parts, disk);
    machines.push(machine);
    return machine;
  };
  /**
   * On a busy machine the kernel was seen to stand still in v86 while it looked for hardware, all of it read and the disk not looked for yet:
   * then the PC is switched off and on.
   */
  const booted = async (disk: Image): Promise<Pc> => {
    for (let attempt = 1; ; attempt++) {
      const machine = boot(disk);
      await machine.loaded;
      await machine.emulator.run();
      if (await machine.sees(/ready\r?\n/, BOOT_LIMIT_MS)) return machine;
      await machine.off();
      console.log(`      stands still: ${JSON.stringify(machine.output.slice(-200))}`);
      if (attempt === BOOT_ATTEMPTS) throw new Error('the guest does not boot');
    }
  };
  const overlay = async (name: string, below: string): Promise<Image> => {
    must('qemu-img', 'create', '-q', '-f', 'qcow2', '-F', 'qcow2', '-b', below, path(name));
    return workspace.open(path(name));
  };
  /** A file of the guest as QEMU and e2fsprogs see it, on the disk of a guest that runs. */
  const fileInside = (name: string): string => {
    must('qemu-img', 'convert', '-U', '-O', 'raw', image.filename, path('raw'));
    return must('debugfs', '-R', `cat ${name}`, `${path('raw')}?offset=${PARTITION_OFFSET}`);
  };
  /** Waits until the guest's work has gone on by `steps`. */
  const work = async (steps: number): Promise<void> => {
    const goal = Number(await pc.run('cat /count')) + steps;
    await pc.run(`while [ $(cat /count) -lt ${goal} ]; do usleep 1000; done`);
  };

  before(function () {
    requirePeer(this, 'qemu-img');
    parts = guestDisk();
    folder = mkdtempSync(join(tmpdir(), 'diskwright-v86-'));
    workspace = new Workspace(openRealHost());
    must('qemu-img', 'convert', '-O', 'qcow2', parts.disk, path('base.qcow2'));
  });

  after(async () => {
    for (const machine of machines) await machine.off();
    await workspace?.close();
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  });

  it('boots GRUB and Linux from it', async () => {
    image = await overlay('disk.qcow2', path('base.qcow2'));
    pc = await booted(image);
    expect(pc.output).to.match(/last boot: (never|yes)/);
    expect(await pc.run('uname -sm')).to.equal('Linux i686');
    expect(image.stats.readBytes).to.be.greaterThan(8 * MiB);
  });

  it('holds what both have written', async () => {
    expect(fileInside('/boot/grub/grubenv')).to.contain('booted=yes');
    await pc.run('echo written by a guest > /mnt/note; sync');
    expect(fileInside('/note')).to.equal('written by a guest\n');
  });

  it('stops the PC where there is no space, and loses nothing when there is some again', async () => {
    const full = () => Promise.reject(new BlockError('no-space', 'No space left on device'));
    Object.assign(deviceOf(image), { write: full });
    pc.emulator.serial0_send('echo kept > /mnt/kept; sync\n');
    expect((await pc.failure()).code).to.equal('no-space');
    await pc.emulator.stop();
    Reflect.deleteProperty(deviceOf(image), 'write');
    pc.disk.retry();
    await pc.emulator.run();
    await pc.expect(/exit=0/);
    expect(fileInside('/kept')).to.equal('kept\n');
  });

  it('goes back to a saved state with the disk of that moment', async () => {
    await pc.run('moment=before; echo before > /mnt/moment; sync');
    await pc.emulator.stop();
    await pc.disk.prepareState();
    const state = await pc.emulator.save_state();
    const frozen = image.filename;
    await workspace.snapshot(image, path('after.qcow2'));
    await pc.emulator.run();
    await pc.run('moment=after; echo after > /mnt/moment; sync');

    const again = boot(await overlay('again.qcow2', frozen));
    await again.loaded;
    await again.disk.prepareState();
    await again.emulator.restore_state(state);
    await again.emulator.run();
    const seen = 'echo 3 > /proc/sys/vm/drop_caches; echo $moment; cat /mnt/moment';
    expect(await again.run(seen)).to.equal('before\nbefore');
    await again.run('echo again > /mnt/moment; sync');
    await again.off();
    expect(await pc.run(seen)).to.equal('after\nafter');

    const wrong = boot(await overlay('wrong.qcow2', path('base.qcow2')));
    await wrong.loaded;
    await wrong.disk.prepareState();
    const error = await failureOf(wrong.emulator.restore_state(state));
    expect(error.code).to.equal('invalid-argument');
    expect(error.message).to.contain(`wrong.qcow2: the state belongs to '${frozen}'`);
    await wrong.off();
  });

  it('goes on while jobs work underneath', async () => {
    await pc.run('echo 0 > /count');
    await pc.run(WORK);
    await work(3);
    await workspace.snapshot(image, path('live.qcow2'));
    await work(3);
    image.limit({ 'bps-total': 2 * MiB });
    await work(3);
    image.limit({});

    await workspace.create(path('target.qcow2'), { driver: 'qcow2', size: image.size });
    const mirror = await workspace.mirror(image, path('target.qcow2'), { sync: 'full' });
    await mirror.ready();
    await work(3);
    await mirror.complete();
    await mirror.done;
    expect(image.filename).to.equal(path('target.qcow2'));
    await work(3);

    await pc.run('touch /stop; while ! [ -e /stopped ]; do usleep 1000; done; echo 3 > /proc/sys/vm/drop_caches');
    expect((await pc.run('cd /mnt/w; md5sum -c *.md5; cd /')).match(/: OK$/gm)).to.have.lengthOf(8);
    expect(pc.errors).to.deep.equal([]);
  });

  it('leaves an image that QEMU and e2fsck find nothing wrong with', async () => {
    await pc.run('umount /mnt');
    await pc.off();
    await image.close();
    must('qemu-img', 'check', path('target.qcow2'));
    must('qemu-img', 'convert', '-O', 'raw', path('target.qcow2'), path('raw'));
    const disk = `${path('raw')}?offset=${PARTITION_OFFSET}`;
    must('e2fsck', '-fn', disk);
    mkdirSync(path('files'));
    must('debugfs', '-R', `rdump /w ${path('files')}`, disk);
    must('sh', '-c', `cd ${path('files/w')} && md5sum -c --quiet *.md5`);
  });
});
