// On a lock conflict, the line after QEMU's words says which process holds the image.

import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, watch } from 'node:fs';
import { expect } from 'chai';
import { lockHolders } from '../../src/host/real/lock-holders.js';
import { Workshop } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';

const COMMANDS = [
  'info disk',
  'check -r all disk',
  'snapshot -c s disk',
  'resize disk 8M',
  'amend -o compat=1.1 disk',
  'bitmap --add disk b',
  'convert -n -O qcow2 other disk',
  'commit over',
  'compact disk',
  'mirror --target=t disk',
  'bench -w -c 1 disk',
  'nbd -f qcow2 disk',
];

/** That an image is made of from what another one has; `luks` beside these wants a secret. */
const FORMATS = ['raw', 'qcow2', 'qcow', 'qed', 'vmdk', 'vdi', 'vpc', 'vhdx', 'parallels', 'cow'];

describe('a lock conflict', function () {
  this.timeout(60_000);
  let shop: Workshop;
  let server: ChildProcess;
  before(async function () {
    requirePeer(this, 'qemu-nbd');
    shop = await Workshop.open();
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', 'disk', '4M');
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', 'other', '4M');
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', 'disk', '-F', 'qcow2', 'over');
    server = spawn('qemu-nbd', ['-t', '-f', 'qcow2', '-k', shop.path('socket'), 'disk'], {
      stdio: 'ignore',
      cwd: shop.folder,
    });
    await new Promise<void>((resolve) => {
      const watcher = watch(shop.folder, check);
      function check(): void {
        if (!existsSync(shop.path('socket'))) return;
        watcher.close();
        resolve();
      }
      check();
    });
  });
  after(async () => {
    const gone = new Promise((resolve) => server.once('exit', resolve));
    server.kill();
    await gone;
    shop.remove();
  });

  for (const command of COMMANDS) {
    it(`names the process: ${command}`, () => {
      const { code, stderr } = shop.ours(...command.split(' '));
      expect(code).to.equal(1);
      const words =
        /Failed to get (shared )?"(write|consistent read|resize)" lock\nIs another process using the image \[.*disk\]\?\n/;
      expect(stderr).to.match(words);
      const line = `It is held by process ${server.pid} (qemu-nbd).`;
      expect(stderr.split('\n').filter((text) => text.startsWith('It is held'))).to.deep.equal([line]);
    });
  }

  for (const command of [
    ...FORMATS.map((format) => `convert -f qcow2 -O ${format} other disk`),
    'create -f vmdk disk 8M',
    'dd -f qcow2 -O vhdx if=other of=disk',
    'salvage -f qcow2 -O vdi other disk',
  ]) {
    it(`says to leave the file to that process, which has not written meanwhile: ${command}`, () => {
      const { code, stderr } = shop.ours(...command.split(' '));
      expect(code).to.equal(1);
      const leave = "'disk' is in use by another process: leave it until that has ended.";
      expect(stderr.trimEnd().split('\n').slice(-2)).to.deep.equal([
        `It is held by process ${server.pid} (qemu-nbd).`,
        leave,
      ]);
    });
  }

  it('of a command with itself is not said to be with another process', () => {
    for (const command of [
      'convert -f qcow2 -O vmdk other other',
      'dd -f qcow2 -O vhdx if=other of=other',
      'salvage -f qcow2 -O vdi other other',
    ]) {
      const { code, stderr } = shop.ours(...command.split(' '));
      expect(code).to.not.equal(0);
      expect(stderr, command).to.not.include('another process');
    }
  });

  it('is told of the byte that is asked for, and of nobody who holds another one', () => {
    expect(lockHolders(shop.path('disk'), 101, 3).map(({ pid }) => pid)).to.deep.equal([server.pid]);
    expect(lockHolders(shop.path('disk'), 150, 3)).to.deep.equal([]);
    expect(lockHolders(shop.path('other'), 101, 3)).to.deep.equal([]);
    expect(lockHolders(shop.path('gone'), 101, 3)).to.deep.equal([]);
  });
});
