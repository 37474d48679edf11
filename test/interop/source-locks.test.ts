// What a command lets others do to the image that it reads: the same as qemu-img, while qemu-nbd writes to it.

import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, watch } from 'node:fs';
import { expect } from 'chai';
import { asOurs, Workshop } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';

/** `FMT` is the format of `disk`, which is written to; `over` is an overlay of it. */
const COMMANDS = [
  'convert -f FMT -O raw disk out',
  'convert -U -f FMT -O raw disk out',
  'convert -f FMT -O qcow2 disk out',
  'convert over out',
  'convert -U over out',
  'compare -f FMT -F FMT disk disk',
  'compare -U -f FMT -F FMT disk disk',
  'compare over over',
  'map -f FMT disk',
  'map -U -f FMT disk',
  'map over',
  'map -U over',
  'info -f FMT disk',
  'info -U -f FMT disk',
  'info over',
  'info --backing-chain over',
  'check -f FMT disk',
  'check -U -f FMT disk',
  'check over',
  'check -U over',
];

/** Only what others may write to is at stake here: not how long a list is. */
const firstLine = (text: string): string => text.split('\n')[0];

for (const format of ['raw', 'qcow2']) {
  describe(`interop: a ${format} image that qemu-nbd writes to`, function () {
    this.timeout(60_000);
    let shop: Workshop;
    let server: ChildProcess;

    before(async function () {
      requirePeer(this, 'qemu-nbd');
      shop = await Workshop.open();
      shop.must('qemu-img', 'create', '-q', '-f', format, 'disk', '4M');
      shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', 'disk', '-F', format, 'over');
      const socket = shop.path('socket');
      server = spawn('qemu-nbd', ['-t', '-f', format, '-k', socket, shop.path('disk')], { stdio: 'ignore' });
      await new Promise<void>((resolve) => {
        const watcher = watch(shop.folder, check);
        function check(): void {
          if (!existsSync(socket)) return;
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
      it(`${command}: is let in or kept out as by qemu-img`, () => {
        const words = command.replaceAll('FMT', format).split(' ');
        const theirs = asOurs(shop.qemuImg(...words));
        const ours = shop.ours(...words);
        expect(ours.code, ours.stderr).to.equal(theirs.code);
        expect(firstLine(ours.stderr)).to.equal(firstLine(theirs.stderr));
      });
    }

    for (const verb of ['mirror', 'backup']) {
      it(`${verb}: keeps its hands off, and does not make a target`, () => {
        const { code, stderr } = shop.ours(verb, '-f', format, '--target=made', 'disk');
        expect(code).to.equal(1);
        expect(stderr).to.include('Failed to get shared "write" lock');
        expect(existsSync(shop.path('made'))).to.equal(false);
      });
    }
  });
}
