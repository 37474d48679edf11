// Lines of progress: the bar fits the terminal, and what is said meanwhile stands on lines of its own.

import { spawnSync } from 'node:child_process';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { barLine } from '../../src/cli/progress.js';
import { cliBundle, Workshop } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';

const STATE = { current: 1 << 29, total: 1 << 30, bytesPerSecond: 3e8, etaMs: 4000, status: 'ready' };

describe('command line: progress', () => {
  it('is a bar that gets shorter, and then leaves out what stands last, where the columns are few', () => {
    const whole = barLine(STATE);
    expect(whole).to.match(/ 50% .*GiB of 1 GiB .*ready$/);
    for (let columns = 10; columns < whole.length; columns++) {
      const line = barLine(STATE, columns);
      expect(line.length).to.be.below(columns);
      expect(line).to.match(/ 50%( {2}0\.50 GiB of 1 GiB( {2}286 MiB\/s( {2}0:04( {2}ready)?)?)?)?$/);
    }
    expect(barLine(STATE, 40)).to.match(/^\[=+> *\] {2}50% {2}0\.50 GiB of 1 GiB$/);
    for (const columns of [0, undefined, whole.length + 1]) expect(barLine(STATE, columns)).to.equal(whole);
  });

  it('is not on one line with a warning', async function () {
    requirePeer(this, 'qemu-img');
    const shop = await Workshop.open();
    try {
      shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', 'd', '1M');
      shop.qemuIo('d', 'write -q -P 1 0 64k');
      const image = readFileSync(shop.path('d'));
      const l1 = Number(image.readBigUInt64BE(40));
      const l2 = Number(image.readBigUInt64BE(l1) & 0x00ff_ffff_ffff_fe00n);
      writeFileSync(shop.path('d'), image.fill(0xff, l2, l2 + 8));
      const words = ['convert', '-p', '--salvage', '-O', 'raw', 'd', 'copy'];
      // Both streams to one file, as on a terminal.
      const fd = openSync(shop.path('said'), 'w');
      const { status } = spawnSync(process.execPath, [await cliBundle(), ...words], {
        cwd: shop.folder,
        stdio: ['ignore', fd, fd],
      });
      closeSync(fd);
      expect(status).to.equal(0);
      const lines = readFileSync(shop.path('said'), 'utf8').split('\n');
      expect(lines[0]).to.equal('    (0.00/100%)\r');
      expect(
        lines.filter((line) => line.startsWith('diskwright: warning: error while reading offset ')),
      ).to.have.length(128);
      expect(lines.filter((line) => line.includes('%') && line.includes('warning'))).to.deep.equal([]);
      expect(lines.slice(-2)).to.deep.equal(['    (100.00/100%)\r', '']);
    } finally {
      shop.remove();
    }
  });
});
