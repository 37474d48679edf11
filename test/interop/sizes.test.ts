// Sizes as people write them, to qemu-img and to us: the same are taken, with the same value; the same are refused, in the same words.

import { existsSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { asOurs, type Outcome, Workshop } from '../support/cli.js';

/** Command lines with `%` for the size; the target is `t`, the source `s`. */
const COMMANDS: readonly (readonly [line: string, sizes: readonly string[]])[] = [
  ['create -q -f raw t -- %', ['1024.0', '1.5K', '1.5', '1e3', '0x400', ' 512', '512 ', '5.k', '.5k', '0.5b', '007']],
  ['create -q -f raw t -- %', ['-1', '', '1kB', 'nan', '0x', '1T', '8E', '9223372036854775808', '1e30']],
  ['create -q -f qcow2 t -- %', ['1000.0', '0.1k']],
  ['create -q -f qcow2 -o cluster_size=% t 1M', ['4096.0', '4.0k', '0x1000', '1e3', '-1', '', '3000', '1E', '99E']],
  ['create -q -f qcow2 -o size=% t', ['1024.0', '-1', '99E', '18446744073709551616']],
  ['create -q -f qcow2 -o refcount_bits=% t 1M', ['0x10', '020', '16.0', '1k', '-1', '18446744073709551616']],
  ['convert -O qcow2 -S % s t', ['4096.0', '1.5k', '-1', '511', '17M', '99E']],
  ['convert -O qcow2 -r % s t', ['4096.0', '7E', '8E', '-1', 'foo']],
  ['map -s % s', ['1.5k', '0.5', '7E', '8E']],
  ['map -l % s', ['512.0', '8E', 'foo']],
  ['info --image-opts driver=raw,offset=%,file.filename=s', ['-1', '1.5', '99E']],
];

describe('sizes', () => {
  let shop: Workshop;
  before(async () => {
    shop = await Workshop.open();
    writeFileSync(shop.path('s'), '');
    truncateSync(shop.path('s'), 65536);
  });
  after(() => shop.remove());

  /** The disk that was made. */
  const made = (): unknown => {
    if (!existsSync(shop.path('t'))) return null;
    const info = shop.qemuImg('info', '--output=json', 't');
    const { 'virtual-size': size, 'cluster-size': cluster } = JSON.parse(info.stdout);
    rmSync(shop.path('t'));
    return { size, cluster };
  };
  const tried = (run: (...words: string[]) => Outcome, words: string[]) => ({
    said: asOurs(run(...words)),
    made: made(),
  });

  for (const [line, sizes] of COMMANDS) {
    for (const size of sizes) {
      it(`are read as qemu-img does: ${line.replace('%', `'${size}'`)}`, () => {
        const words = line.split(' ').map((word) => word.replace('%', size));
        const theirs = tried((...all) => shop.qemuImg(...all), words);
        expect(tried((...all) => shop.ours(...all), words)).to.deep.equal(theirs);
      });
    }
  }

  it('beyond 2^53 - 1 bytes are refused by name, which qemu-img leaves to the file', () => {
    for (const words of [
      ['create', 'b', '32P'],
      ['create', '-f', 'qcow2', '-o', 'cluster_size=2M', 'b', '32P'],
      ['create', '-f', 'qcow2', '-o', 'size=7E', 'b'],
    ]) {
      const { code, stderr } = shop.ours(...words);
      expect(code).to.equal(1);
      expect(stderr).to.match(/izes beyond 9007199254740991 bytes \(2\^53 - 1\) are not supported\.?\n$/);
      expect(existsSync(shop.path('b'))).to.equal(false);
    }
  });
});
