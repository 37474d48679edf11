// qcow2 images whose headers have a size that is no whole number of sectors (no program makes them; writers of headers do): the disk
// ends with its last whole sector, as qemu-img has it, in what is told of it and in every copy.

import { closeSync, openSync, readFileSync, rmSync, statSync, writeSync } from 'node:fs';
import { expect } from 'chai';
import { asOurs, type Outcome, Workshop } from '../support/cli.js';

const CLUSTER = 65536;
const SIZES = [1, 511, 513, 4095, 4097, CLUSTER - 1, CLUSTER + 1, (1 << 20) + 1];
/** Also copied: that takes many processes. */
const COPIED = [1, 513, CLUSTER + 1];
/** Guest bytes of one L2 table of 64 KiB clusters. */
const L2_SPAN = CLUSTER * (CLUSTER / 8);

describe('qcow2 headers with sizes that are no whole sectors, as qemu-img has them', () => {
  let shop: Workshop;
  before(async () => {
    shop = await Workshop.open();
  });
  after(() => shop.remove());

  /** A full image that is larger, with `bytes` put into its header. */
  function make(name: string, bytes: number, room = Math.ceil(bytes / CLUSTER + 1) * CLUSTER): void {
    rmSync(shop.path(name), { force: true });
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', name, `${room}`);
    shop.qemuIo(name, `write -P 90 0 ${Math.min(room, 2 << 20)}`);
    const field = Buffer.alloc(8);
    field.writeBigUInt64BE(BigInt(bytes));
    const file = openSync(shop.path(name), 'r+');
    writeSync(file, field, 0, 8, 24);
    closeSync(file);
  }
  const both = (...words: string[]): [Outcome, Outcome] => [shop.ours(...words), asOurs(shop.qemuImg(...words))];

  for (const bytes of SIZES) {
    it(`${bytes} bytes`, () => {
      make('q', bytes);
      for (const words of [['info', '--output=json'], ['map', '--output=json'], ['check']]) {
        const [ours, theirs] = both(...words, 'q');
        expect(ours, words[0]).to.deep.equal(theirs);
      }
      if (!COPIED.includes(bytes)) return;
      for (const format of ['raw', 'qcow2']) {
        expect(shop.ours('convert', '-O', format, 'q', 'c').code).to.equal(0);
        expect(shop.qemuImg('convert', '-O', format, 'q', 'd').code).to.equal(0);
        if (format === 'raw') expect(readFileSync(shop.path('c'))).to.deep.equal(readFileSync(shop.path('d')));
        else expect(shop.qemuImg('compare', '-s', 'c', 'd').stdout).to.equal('Images are identical.\n');
        const [ours, theirs] = both('compare', '-F', format, 'q', 'd');
        expect(ours).to.deep.equal(theirs);
        expect(statSync(shop.path('c')).size).to.equal(statSync(shop.path('d')).size);
        for (const name of 'cd') rmSync(shop.path(name));
      }
    });
  }

  it('one byte more than the L1 table has room for', () => {
    make('q', L2_SPAN + 1, L2_SPAN);
    const [ours, theirs] = both('info', 'q');
    expect(ours.code).to.equal(theirs.code);
  });
});
