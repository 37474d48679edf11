// The command line on block devices with sectors of 512 and of 4096 bytes: images with every small cluster size, and copies from one device to
// another, beside qemu-img.

import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { asOurs, Workshop } from '../support/cli.js';
import { leaveOut } from '../support/needs.js';

const MIB = 1 << 20;
const SIZE = 8 * MIB;

for (const sector of [512, 4096]) {
  describe(`devices with sectors of ${sector}`, () => {
    let shop: Workshop;
    const devices: string[] = [];
    let a: string;
    let b: string;

    before(async function () {
      shop = await Workshop.open();
      for (const name of ['a', 'b']) {
        // The image has room, and a raw copy of its disk fits exactly.
        writeFileSync(shop.path(name), randomBytes(name === 'a' ? SIZE + 4 * MIB : SIZE));
        const words = ['--find', '--show', '--sector-size', `${sector}`, shop.path(name)];
        const made = spawnSync('losetup', words, { encoding: 'utf8' });
        if (made.status !== 0) leaveOut(this, 'loop devices');
        devices.push(made.stdout.trim());
      }
      [a, b] = devices;
    });
    after(() => {
      for (const device of devices) execFileSync('losetup', ['--detach', device]);
      shop.remove();
    });

    const ours = (...words: string[]) => expect(shop.ours(...words).code, words.join(' ')).to.equal(0);
    const same = (format: string) =>
      expect(shop.qemuImg('compare', '-f', 'qcow2', '-F', format, a, b).stdout).to.equal('Images are identical.\n');

    for (const clusterSize of ['512', '1k', '4k', '64k']) {
      it(`take an image with clusters of ${clusterSize}, as qemu-img makes it`, () => {
        const words = ['create', '-q', '-f', 'qcow2', '-o', `cluster_size=${clusterSize}`, a, `${SIZE}`];
        ours(...words);
        const check = shop.ours('check', a);
        const map = shop.ours('map', '--output=json', a);
        expect(shop.qemuImg(...words).code).to.equal(0);
        expect(check).to.deep.equal(asOurs(shop.qemuImg('check', a)));
        expect(map).to.deep.equal(asOurs(shop.qemuImg('map', '--output=json', a)));
      });
    }

    it('are copied from one to the other', () => {
      ours('create', '-q', '-f', 'qcow2', '-o', 'cluster_size=512', a, `${SIZE}`);
      shop.qemuIo(a, 'write -P 7 1536 5000', 'write -P 9 3M 100k', 'write -z 5M 1000');
      for (const [format, ...words] of [
        ['raw', 'convert', '-n', '-f', 'qcow2', '-O', 'raw', a, b],
        ['qcow2', 'convert', '-f', 'qcow2', '-O', 'qcow2', '-o', 'cluster_size=512', a, b],
        ['qcow2', 'convert', '-f', 'qcow2', '-O', 'qcow2', '-c', a, b],
        ['raw', 'mirror', `--target=${b}`, '--mode=existing', '--format=raw', a],
        ['qcow2', 'backup', `--target=${b}`, '--format=qcow2', a],
        ['qcow2', 'mirror', `--target=${b}`, '--format=qcow2', a],
      ]) {
        ours(...words);
        same(format);
      }
    });
  });
}
