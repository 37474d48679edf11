import { createHash } from 'node:crypto';
import { expect } from 'chai';
import { DirtyBitmap } from '../../src/block/bitmap.js';
import { bitmapDigest } from '../../src/block/bitmap-digest.js';
import { Random } from '../../src/host/sim/random.js';
import { BlockError } from '../../src/util/errors.js';

describe('the digest of a bitmap', () => {
  /** Bit by bit. */
  function slow(bitmap: DirtyBitmap): string {
    const bits = Math.ceil(bitmap.size / bitmap.granularity);
    const bytes = new Uint8Array(Math.ceil(bits / 64) * 8);
    for (let i = 0; i < bits; i++) if (bitmap.get(i * bitmap.granularity)) bytes[i >> 3] |= 1 << (i & 7);
    return createHash('sha256').update(bytes).digest('hex');
  }

  for (const size of [0, 1, 512, 65 * 512, 64 * 512, 524288 * 512 + 1, 3 * 524288 * 512]) {
    it(`is that of its bits in whole words, for ${size} bytes`, () => {
      const bitmap = new DirtyBitmap({ name: 'b', size, granularity: 512 });
      expect(bitmapDigest(bitmap)).to.equal(slow(bitmap));
      const random = new Random(size);
      for (let i = 0; i < 40 && size > 0; i++) {
        const offset = random.below(size);
        bitmap.set(offset, Math.min(size - offset, 1 + random.below(1 << 20)));
      }
      expect(bitmapDigest(bitmap)).to.equal(slow(bitmap));
      bitmap.set(0, size);
      expect(bitmapDigest(bitmap)).to.equal(slow(bitmap));
    });
  }

  it('is refused where it would take long', () => {
    const bitmap = new DirtyBitmap({ name: 'b', size: 2 ** 41, granularity: 512 });
    expect(() => bitmapDigest(bitmap)).to.throw(BlockError, 'too large for a digest');
  });
});
