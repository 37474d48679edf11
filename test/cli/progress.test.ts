// Lines of progress: the bar fits the terminal, and what is said meanwhile stands on lines of its own.

import { spawnSync } from 'node:child_process';
import { appendFileSync, closeSync, openSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { barLine } from '../../src/cli/progress.js';
import { ratedState } from '../../src/cli/rate.js';
import { cliBundle, Workshop } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';
import { onTerminal, type TerminalStep } from '../support/terminal.js';

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

  it('fits terminals of any width, and never fills the last column', () => {
    for (const columns of [80, 50, 24, 10, 5, 2]) {
      for (const notes of [
        undefined,
        ['a note that is much too long for a line of any terminal that there is, or nearly any'],
      ]) {
        expect(barLine({ ...STATE, notes }, columns).length, String(columns)).to.be.below(columns);
      }
    }
    expect(barLine(STATE, 24)).to.equal('[========>       ]  50%');
  });

  it('of a job that does not know its work yet is nothing, and steps are no bytes', () => {
    expect(barLine({ current: 0, total: 0, status: 'running' })).to.equal(`[>${' '.repeat(27)}]   0%`);
    expect(barLine({ current: 0, total: 0, status: 'concluded' })).to.equal(`[${'='.repeat(28)}] 100%`);
    expect(barLine({ current: 1, total: 2, steps: true })).to.match(/\] {2}50%$/);
  });

  it('shows no more than the rate limit lets through, and the time that is left by it', () => {
    const copied = { current: 4 << 20, total: 10 << 20, moved: 4 << 20 };
    expect(ratedState(1000, copied, { limit: 1 << 20 })).to.deep.equal({
      current: 4 << 20,
      total: 10 << 20,
      bytesPerSecond: 1 << 20,
      etaMs: 6000,
    });
    expect(ratedState(1000, { ...copied, total: 8 << 20 }).bytesPerSecond).to.equal(4 << 20);
    expect(ratedState(1000, { ...copied, total: 8 << 20 }, { limit: 8 << 20 }).etaMs).to.equal(1000);
  });

  it('counts no holes in the rate, nor in the time that is left', () => {
    const copied = { current: 60 << 20, total: 100 << 20, moved: 4 << 20 };
    expect(ratedState(1000, copied, { data: 10 << 20 })).to.include({ bytesPerSecond: 4 << 20, etaMs: 1500 });
    // Where the data was not counted before: as much of the rest as of what is done.
    expect(ratedState(1000, copied).etaMs).to.be.closeTo(((40 * 4) / 60 / 4) * 1000, 1);
    // More was found than was counted.
    expect(ratedState(1000, copied, { data: 2 << 20 }).etaMs).to.equal(0);
    expect(ratedState(1000, { ...copied, moved: 0 })).to.deep.equal({ current: 60 << 20, total: 100 << 20 });
  });

  it('of a copy under a rate limit tells the time for its data alone, from the begin', async () => {
    const shop = await Workshop.open();
    try {
      // Data at both ends of a large hole.
      writeFileSync(shop.path('source'), Buffer.alloc(3 << 20, 1));
      truncateSync(shop.path('source'), 1 << 30);
      appendFileSync(shop.path('source'), Buffer.alloc(1 << 20, 1));
      for (const words of [
        ['convert', '-O', 'raw', 'source', 'made'],
        ['backup', '-f', 'raw', '--target=copy', '--format=raw', 'source'],
      ]) {
        const { code, stdout } = shop.ours(words[0], '-r', '4M', '--progress=json', ...words.slice(1));
        expect(code).to.equal(0);
        const told = stdout
          .split('\n')
          .filter((line) => line.includes('"eta-seconds":') && !line.includes('"eta-seconds":null'))
          .map((line) => JSON.parse(line) as { 'bytes-per-second': number; 'eta-seconds': number; percent: number });
        const middle = told.filter(({ percent }) => percent < 100);
        expect(middle, stdout).to.have.lengthOf.above(0);
        for (const state of middle) {
          expect(state['bytes-per-second'], words[0]).to.be.within(1, 4 << 20);
          // Four MiB in all.
          expect(state['eta-seconds'] * state['bytes-per-second'], words[0]).to.be.below(4.5 * 2 ** 20);
        }
      }
    } finally {
      shop.remove();
    }
  });

  describe('on a terminal', () => {
    let shop: Workshop;

    before(async function () {
      requirePeer(this, 'python3');
      shop = await Workshop.open();
      writeFileSync(shop.path('source'), Buffer.alloc(3 << 20, 1));
    });
    after(() => shop?.remove());

    const copy = (
      columns: number,
      env: Record<string, string>,
      rate = '8M',
      steps: readonly TerminalStep[] = [],
    ): string => {
      const words = ['convert', '-p', '-r', rate, '-O', 'raw', 'source', 'made'];
      return onTerminal({ folder: shop.folder, columns, env }, [process.execPath, shop.bundle, ...words], steps).said;
    };
    const linesOf = (drawn: string): string[] => drawn.split('\r').map((line) => line.replace('\x1b[K', '').trimEnd());

    it('keeps to its width, and NO_COLOR leaves it plain', () => {
      for (const columns of [80, 50, 24]) {
        const drawn = copy(columns, { NO_COLOR: '1' });
        const lines = linesOf(drawn);
        expect(
          lines.some((line) => /^\[=*>? +\]/.test(line)),
          drawn,
        ).to.equal(true);
        expect(lines.filter((line) => line.length >= columns)).to.deep.equal([]);
        expect(lines.filter((line) => line.includes('\x1b'))).to.deep.equal([]);
        expect(lines.findLast((line) => line.startsWith('['))).to.match(/100%/);
        // One line of the scrollback in all.
        expect(drawn.split('\n')).to.have.lengthOf(2);
      }
    });

    it('follows a change of its width', () => {
      const lines = linesOf(copy(80, { NO_COLOR: '1' }, '2M', [{ see: 'MiB/s', columns: 30 }]));
      const drawn = lines.filter((line) => line.startsWith('['));
      expect(drawn[0].length).to.be.above(40);
      expect(drawn.at(-1)).to.match(/100%/);
      expect(drawn.at(-1)!.length).to.be.below(30);
    });

    it('is green where colours are wanted; a dumb one gets percentages', () => {
      expect(copy(80, {})).to.include(`[\x1b[32m${'='.repeat(28)}\x1b[0m] 100%`);
      expect(copy(80, { NO_COLOR: '1', FORCE_COLOR: '1' })).to.include('\x1b[32m');
      expect(copy(80, { FORCE_COLOR: '0' })).to.not.include('\x1b[32m');
      for (const forced of ['', '1']) {
        const dumb = copy(80, { TERM: 'dumb', FORCE_COLOR: forced });
        expect(dumb).to.include('(0.00/100%)').and.to.include('(100.00/100%)');
        expect(dumb).to.not.include('[');
      }
    });
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
