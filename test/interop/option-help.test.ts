// `-o help` is qemu-img's, line by line, with the name of a target and without, but for the options that only we have.

import { expect } from 'chai';
import { Workshop } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';

describe('-o help, beside qemu-img', () => {
  let shop: Workshop;

  before(async function () {
    requirePeer(this, 'qemu-img');
    shop = await Workshop.open();
  });
  after(() => shop.remove());

  for (const words of [
    ['create', '-o', 'help'],
    ['create', '-f', 'qcow2', '-o', 'help'],
    ['create', '-f', 'qcow2', '-o', '?'],
    ['create', '-f', 'qcow2', '-o', 'help', 'x'],
    ['create', '-f', 'raw', '-o', 'help', 'x', '1M'],
    ['create', '-f', 'luks', '-o', 'help'],
    ['create', '-f', 'luks', '-o', 'help', 'x'],
    ['amend', '-f', 'qcow2', '-o', 'help'],
    ['amend', '-f', 'luks', '-o', 'help'],
    ['convert', '-O', 'raw', '-o', 'help'],
    ['convert', '-O', 'luks', '-o', 'help'],
    ['convert', '-O', 'qcow2', '-o', 'help'],
    ['convert', '-O', 'qcow2', '-o', 'help', 'a'],
    ['convert', '-O', 'qcow2', '-o', 'help', 'a', 'b'],
  ]) {
    it(words.join(' '), () => {
      const [ours, theirs] = [shop.ours(...words), shop.qemuImg(...words)];
      expect([ours.code, ours.stderr]).to.deep.equal([theirs.code, theirs.stderr]);
      const lines = ours.stdout.split('\n');
      const known = new Set(theirs.stdout.split('\n'));
      expect(lines.filter((line) => known.has(line)).join('\n')).to.equal(theirs.stdout);
      // LUKS headers apart; raw and LUKS images allocate by themselves, in qemu-img it is the file that does.
      const more = lines.filter((line) => !known.has(line)).map((line) => line.trim().split('=')[0]);
      const own = words.includes('luks') ? ['detached-header', 'preallocation'] : ['preallocation'];
      expect(own).to.include.members(more);
    });
  }
});
