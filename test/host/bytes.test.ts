// The zero test and its kin, against the plain definition, at every length and place that could matter.
import { expect } from 'chai';
import { BlockError } from '../../src/util/errors.js';
import { overEngines, pattern } from './engines.js';

overEngines('memory tests', (bench) => {
  it('isZero sees one bit, wherever it is', () => {
    const { memory } = bench.host;
    const buffer = new Uint8Array(1200);
    for (let start = 0; start < 33; start++) {
      for (const length of [0, 1, 7, 8, 15, 16, 63, 64, 127, 128, 129, 511, 512, 1000]) {
        const part = buffer.subarray(start, start + length);
        expect(memory.isZero(part), `${start}+${length}`).to.equal(true);
        for (const at of new Set([0, 1, length >> 1, length - 9, length - 1])) {
          if (at < 0 || at >= length) continue;
          part[at] = 128;
          expect(memory.isZero(part), `${start}+${length}@${at}`).to.equal(false);
          part[at] = 0;
        }
        if (start > 0) buffer[start - 1] = 1;
        buffer[start + length] = 1;
        expect(memory.isZero(part), `neighbours of ${start}+${length}`).to.equal(true);
        buffer.fill(0);
      }
    }
  });

  it('zeroMap says for each granule whether it is zero, the short last one too', () => {
    const { memory } = bench.host;
    const buffer = memory.allocate(10 * 4096 + 100);
    for (let round = 0; round < 40; round++) {
      buffer.fill(0);
      for (const byte of pattern(3, round)) buffer[(byte * 161 + round * 1000) % buffer.byteLength] = 1;
      const map = new Uint8Array(12).fill(9);
      expect(memory.zeroMap(buffer, 4096, map)).to.equal(11);
      const wanted = [...Array(11).keys()].map((i) =>
        buffer.subarray(i * 4096, (i + 1) * 4096).every((b) => b === 0) ? 1 : 0,
      );
      expect([...map]).to.deep.equal([...wanted, 9]);
    }
    memory.free(buffer);
  });

  it('firstDifference finds the first of several', () => {
    const { memory } = bench.host;
    const a = pattern(20000, 1);
    const b = Buffer.from(a);
    expect(memory.firstDifference(a, b)).to.equal(-1);
    for (const at of [0, 1, 7, 8, 4095, 4096, 4097, 12345, 19999]) {
      const c = Buffer.from(a);
      c[at] ^= 1;
      c[19999] ^= 4;
      expect(memory.firstDifference(a, c)).to.equal(at);
    }
  });

  it('refuses lengths that differ, a map too short and a granule that is none', () => {
    const { memory } = bench.host;
    for (const call of [
      () => memory.firstDifference(new Uint8Array(1), new Uint8Array(2)),
      () => memory.zeroMap(new Uint8Array(1024), 512, new Uint8Array(1)),
      () => memory.zeroMap(new Uint8Array(1024), 100, new Uint8Array(99)),
    ]) {
      expect(call).to.throw(BlockError).with.property('code', 'invalid-argument');
    }
  });
});
