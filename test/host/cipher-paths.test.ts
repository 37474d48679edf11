// Every code for XTS that this processor can run (`cipherPaths`), against IEEE 1619 and node's own crypto: at any length and alignment, and in place.
import { expect } from 'chai';
import { loadNative } from '../../src/host/real/binding.js';
import { openNative } from '../../src/host/real/ciphers.js';
import { Random } from '../../src/host/sim/index.js';
import { seedOf } from '../support/sample.js';
import { pattern } from './engines.js';
import { hex, optionsOf, SECTOR, sectorBy, XTS } from './sectors.js';

const native = loadNative();
const SEED = seedOf(1619);
/** Of a request; the addon takes 16 sectors at a time. */
const MOST_SECTORS = 40;
const ROUNDS = 12;
const ENCRYPT = 1;
const DECRYPT = 0;
/** Around each output: nothing is written there. */
const MARGIN = 64;

function run(cipher: number, encrypts: number, sector: number, input: Uint8Array, output: Uint8Array): void {
  expect(native.cipherNow(cipher, encrypts, sector, input, output)).to.equal(0);
}

describe(`code for XTS (seed ${SEED})`, () => {
  it('OpenSSL is always there, and no other name', () => {
    expect(native.cipherPaths[0]).to.equal('openssl');
    const options = optionsOf('xts', 'plain64', 32);
    for (const wrong of ['', 'aes', 'VAES']) {
      expect(() => openNative(native, options, wrong), wrong).to.throw(/not supported/);
    }
  });

  for (const path of native.cipherPaths) {
    it(`${path}: as published`, () => {
      const plain = Uint8Array.from({ length: SECTOR }, (_, i) => i & 255);
      for (const [key, number, first, last] of XTS) {
        const cipher = openNative(native, { mode: 'xts', vectors: 'plain64', key: hex(key) }, path);
        const out = Buffer.alloc(SECTOR);
        run(cipher, ENCRYPT, number, plain, out);
        expect(out.toString('hex', 0, 16)).to.equal(first);
        expect(out.toString('hex', SECTOR - 16)).to.equal(last);
        native.closeCipher(cipher);
      }
    });

    it(`${path}: as node's crypto, both ways, wherever the buffers lie`, () => {
      const random = new Random(SEED);
      const margins = Buffer.alloc(MARGIN, 0xa5);
      for (const bytes of [16, 24, 32]) {
        for (const vectors of ['plain', 'plain64', 'essiv'] as const) {
          const options = optionsOf('xts', vectors, bytes);
          const cipher = openNative(native, options, path);
          const lengths = [1, 8, ...Array.from({ length: ROUNDS }, () => random.between(1, MOST_SECTORS))];
          for (const sectors of lengths) {
            const length = sectors * SECTOR;
            const first = random.below(2 ** random.between(1, 48));
            const place = () => {
              const room = Buffer.alloc(length + 3 * MARGIN, 0xa5);
              const at = MARGIN + random.below(MARGIN);
              return {
                data: room.subarray(at, at + length),
                around: [room.subarray(at - MARGIN, at), room.subarray(at + length, at + length + MARGIN)],
              };
            };
            const input = place();
            const output = place();
            const plain = pattern(length, random.next());
            const expected = Buffer.concat(
              Array.from({ length: sectors }, (_, i) =>
                sectorBy(options, first + i, plain.subarray(i * SECTOR, (i + 1) * SECTOR)),
              ),
            );
            input.data.set(plain);
            run(cipher, ENCRYPT, first, input.data, output.data);
            const what = `${vectors}, ${bytes} bytes, ${sectors} sectors from ${first}`;
            expect(output.data.equals(expected), what).to.equal(true);
            expect(input.data.equals(plain), `${what}: the input stays`).to.equal(true);
            run(cipher, ENCRYPT, first, input.data, input.data);
            expect(input.data.equals(expected), `${what}: in place`).to.equal(true);
            run(cipher, DECRYPT, first, input.data, output.data);
            expect(output.data.equals(plain), `${what}: back`).to.equal(true);
            run(cipher, DECRYPT, first, input.data, input.data);
            expect(input.data.equals(plain), `${what}: back in place`).to.equal(true);
            for (const margin of [...input.around, ...output.around])
              expect(margin.equals(margins), what).to.equal(true);
          }
          native.closeCipher(cipher);
        }
      }
    });
  }
});
