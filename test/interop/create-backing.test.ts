// `create -b` beside qemu-img: what a backing file must be, and what -u does without.

import { rmSync } from 'node:fs';
import { expect } from 'chai';
import { asOurs, Workshop } from '../support/cli.js';

describe('create with a backing file, as qemu-img has it', () => {
  let shop: Workshop;
  before(async () => {
    shop = await Workshop.open();
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', 'base', '1M');
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', 'base', '-F', 'qcow2', 'mid');
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', 'base', '-F', 'qcow2', 'loose');
    shop.must('qemu-img', 'rebase', '-u', '-f', 'qcow2', '-b', 'gone', '-F', 'qcow2', 'loose');
  });
  after(() => shop.remove());
  afterEach(() => rmSync(shop.path('top'), { force: true }));

  for (const [what, words] of [
    ['a chain that is there', ['-b', 'mid', '-F', 'qcow2', 'top']],
    ['a backing file that is not there', ['-b', 'gone', '-F', 'qcow2', 'top', '1M']],
    ['a backing file whose own is not there', ['-b', 'loose', '-F', 'qcow2', 'top', '1M']],
    ['the same with -u', ['-u', '-b', 'loose', '-F', 'qcow2', 'top', '1M']],
    ['a file that is not there with -u', ['-u', '-b', 'gone', '-F', 'qcow2', 'top', '1M']],
  ] as const) {
    it(`answers ${what} alike`, () => {
      const theirs = asOurs(shop.qemuImg('create', '-f', 'qcow2', ...words));
      rmSync(shop.path('top'), { force: true });
      expect(shop.ours('create', '-f', 'qcow2', ...words)).to.deep.equal(theirs);
    });
  }
});
