// `-o help` begins and ends as qemu-img's does, with the name of a target and without; between lie the options that are ours.

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
    ['convert', '-O', 'qcow2', '-o', 'help'],
    ['convert', '-O', 'qcow2', '-o', 'help', 'a'],
    ['convert', '-O', 'qcow2', '-o', 'help', 'a', 'b'],
  ]) {
    it(words.join(' '), () => {
      const [ours, theirs] = [shop.ours(...words), shop.qemuImg(...words)];
      expect([ours.code, ours.stderr]).to.deep.equal([theirs.code, theirs.stderr]);
      const frame = (text: string): string => text.replace(/^ {2}.*\n/gm, '');
      expect(frame(ours.stdout)).to.equal(frame(theirs.stdout));
    });
  }
});
