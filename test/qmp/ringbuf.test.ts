// The ring buffer of a character device, against a plain list of bytes.

import { expect } from 'chai';
import { RingBackend } from '../../src/qmp/chardev/ringbuf.js';
import { pattern } from '../host/engines.js';

/** The same by the simplest means. */
class Model {
  #kept: number[] = [];
  readonly limit: number;

  constructor(limit: number) {
    this.limit = limit;
  }

  write(bytes: Uint8Array): void {
    this.#kept = [...this.#kept, ...bytes].slice(-this.limit);
  }

  read(count: number): Buffer {
    return Buffer.from(this.#kept.splice(0, count));
  }
}

describe('ring buffer', () => {
  for (const limit of [1, 64, 4096, 16384]) {
    it(`of ${limit} bytes keeps the newest, and gives the oldest first`, () => {
      const [ring, model] = [new RingBackend('ringbuf', limit), new Model(limit)];
      let seed = limit;
      const below = (end: number): number => {
        seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
        return (seed >>> 8) % end;
      };
      for (let i = 0; i < 400; i++) {
        const written = pattern(below(limit + (limit >> 1) + 2), i);
        ring.write(written);
        model.write(written);
        const count = below(limit + 2);
        if (below(3) > 0) expect(ring.read(count)).to.deep.equal(model.read(count), `step ${i}`);
      }
      expect(ring.read(limit)).to.deep.equal(model.read(limit));
      expect(ring.read(limit)).to.have.length(0);
    });
  }

  it('is not copied for each write: many small ones into a large, full one are quick', () => {
    const ring = new RingBackend('ringbuf', 64 << 20);
    ring.write(Buffer.alloc(64 << 20));
    const begun = performance.now();
    // Copied whole each time, these would move 1.25 TiB.
    for (let i = 0; i < 20_000; i++) ring.write(Buffer.from([i]));
    expect(performance.now() - begun).to.be.below(5000);
    ring.read((64 << 20) - 2);
    expect([...ring.read(9)]).to.deep.equal([19_998 & 255, 19_999 & 255]);
  });

  it('has nothing any more when it is closed', async () => {
    const ring = new RingBackend('ringbuf', 64);
    ring.write(Buffer.from('abc'));
    await ring.close();
    expect(ring.read(9)).to.have.length(0);
  });
});
