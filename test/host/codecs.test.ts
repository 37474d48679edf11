// The codecs, against node's own zlib, and against input that means harm.
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { expect } from 'chai';
import type { CompressionType } from '../../src/host/host.js';
import { failure, overEngines, pattern } from './engines.js';

const TYPES: CompressionType[] = ['zlib', 'zstd'];
const CLUSTER = 65536;

/** Half text, half noise: it compresses, and not too well. */
function sample(length: number): Buffer {
  const bytes = pattern(length, 99);
  for (let i = 0; i < length; i++) if (i % 512 < 300) bytes[i] = 97 + ((i * 7) % 13);
  return bytes;
}

overEngines('codecs', (bench) => {
  for (const type of TYPES) {
    for (const length of [1, 512, CLUSTER, 2 * 1024 * 1024]) {
      it(`${type}: ${length} bytes go there and back, in the arena and out of it`, async () => {
        const { codecs, memory } = bench.host;
        const input = sample(length);
        for (const make of [(n: number) => memory.allocate(n), (n: number) => new Uint8Array(n)]) {
          const from = make(length);
          from.set(input);
          const packed = make(length + 1000);
          const size = await codecs.compress(type, from, packed);
          expect(size).to.be.greaterThan(0);
          const back = make(length);
          await codecs.decompress(type, packed.subarray(0, size), back);
          expect(Buffer.from(back).equals(input)).to.equal(true);
        }
      });
    }

    it(`${type}: -1 where the output is too small`, async () => {
      const noise = pattern(CLUSTER, 1);
      expect(await bench.host.codecs.compress(type, noise, new Uint8Array(CLUSTER - 1))).to.equal(-1);
      expect(await bench.host.codecs.compress(type, noise, new Uint8Array(1))).to.equal(-1);
    });

    it(`${type}: what lies behind the stream is ignored, what is missing is an error`, async () => {
      const { codecs } = bench.host;
      const packed = new Uint8Array(2 * CLUSTER);
      const size = await codecs.compress(type, sample(CLUSTER), packed);
      const back = Buffer.alloc(CLUSTER);
      packed.fill(0xaa, size);
      await codecs.decompress(type, packed.subarray(0, size + 511), back);
      expect(back.equals(sample(CLUSTER))).to.equal(true);
      for (const cut of [0, 1, size >> 1]) {
        const error = await failure(codecs.decompress(type, packed.subarray(0, cut), back));
        expect([error.code, error.operation]).to.deep.equal(['invalid-image', 'decompress']);
      }
      expect((await failure(codecs.decompress(type, packed, Buffer.alloc(CLUSTER + 1)))).code).to.equal(
        'invalid-image',
      );
    });

    it(`${type}: a stream that holds more fills the output and stops`, async () => {
      const { codecs } = bench.host;
      const packed = new Uint8Array(2 * CLUSTER);
      const size = await codecs.compress(type, sample(CLUSTER), packed);
      const back = Buffer.alloc(1000);
      await codecs.decompress(type, packed.subarray(0, size), back);
      expect(back.equals(sample(CLUSTER).subarray(0, 1000))).to.equal(true);
    });

    it(`${type}: broken input never writes past the output`, async () => {
      const { codecs, memory } = bench.host;
      const packed = memory.allocate(2 * CLUSTER);
      const size = await codecs.compress(type, sample(CLUSTER), packed);
      const room = memory.allocate(CLUSTER + 4096);
      for (let seed = 1; seed <= 200; seed++) {
        const broken = memory.allocate(size);
        broken.set(packed.subarray(0, size));
        const noise = pattern(12, seed);
        for (let i = 0; i < 4; i++) broken[(noise[3 * i] * 256 + noise[3 * i + 1]) % size] ^= noise[3 * i + 2] | 1;
        room.fill(0x5c);
        await codecs.decompress(type, broken, room.subarray(0, CLUSTER)).catch((error) => {
          expect(error.code, `seed ${seed}`).to.equal('invalid-image');
        });
        expect(
          room.subarray(CLUSTER).every((byte) => byte === 0x5c),
          `seed ${seed}`,
        ).to.equal(true);
        memory.free(broken);
      }
    });

    it(`${type}: refuses a level that it does not have`, async () => {
      for (const level of [-1, 1.5, 23]) {
        const error = await failure(bench.host.codecs.compress(type, Buffer.alloc(9), Buffer.alloc(99), level));
        expect(error.code).to.equal('invalid-argument');
      }
    });
  }

  it('zlib: the stream is raw deflate with a window of 4 KiB', async () => {
    const packed = new Uint8Array(CLUSTER);
    const size = await bench.host.codecs.compress('zlib', sample(CLUSTER), packed);
    const back = inflateRawSync(packed.subarray(0, size), { windowBits: 12 });
    expect(back.equals(sample(CLUSTER))).to.equal(true);
  });

  it('zlib: streams of others are read, whatever their window', async () => {
    for (const windowBits of [9, 12, 15]) {
      const back = Buffer.alloc(CLUSTER);
      await bench.host.codecs.decompress('zlib', deflateRawSync(sample(CLUSTER), { windowBits }), back);
      expect(back.equals(sample(CLUSTER))).to.equal(true);
    }
  });

  it('the description names what is in use', () => {
    expect(bench.host.codecs.description).to.match(/zlib \d.*libzstd \d/);
  });
});
