// Write streams of an image: where they end, and which holes they make. On the simulated host.

import { once } from 'node:events';
import { Readable } from 'node:stream';
import { finished, pipeline } from 'node:stream/promises';
import { setImmediate } from 'node:timers/promises';
import { expect } from 'chai';
import { createSimHost } from '../../src/host/sim/index.js';
import type { Image } from '../../src/library/image.js';
import { Workspace } from '../../src/library/workspace.js';
import { failureOf } from '../drivers/support.js';

const KiB = 1024;
const MiB = 1024 * KiB;
const SIZE = 8 * MiB;
const BLOCK = 4096;

function bench(work: (image: Image) => Promise<void>, size = SIZE): () => Promise<void> {
  return async () => {
    const host = createSimHost({});
    await host.run(async () => {
      const workspace = new Workspace(host);
      await workspace.create('/a', { driver: 'qcow2', size });
      await work(await workspace.open('/a'));
      await workspace.close();
    });
  };
}

/** Data and zeroes by turns, so that each block is a request. */
function striped(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let at = 0; at < length; at += 2 * BLOCK) bytes.fill(1, at, Math.min(length, at + BLOCK));
  return bytes;
}

/** The pieces of `bytes`, each in memory that is used for the next one. */
function* reused(bytes: Buffer, length: number): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += length) yield bytes.subarray(at, at + length);
}

async function dataBytes(image: Image): Promise<number> {
  let sum = 0;
  for await (const { data, length } of image.extents()) if (data) sum += length;
  return sum;
}

describe('a write stream of an image', () => {
  it(
    'writes nothing once it was destroyed and is closed',
    bench(async (image) => {
      const stream = image.createWriteStream();
      const written = new Promise((resolve) => stream.write(striped(SIZE), resolve));
      while (image.stats.writeOperations < 10) await image.flush();
      stream.destroy();
      await once(stream, 'close');
      const { writeOperations } = image.stats;
      expect(writeOperations).to.be.lessThan(100);
      for (let i = 0; i < 50; i++) await setImmediate();
      expect(image.stats.writeOperations).to.equal(writeOperations);
      expect(await written).to.have.property('code', 'cancelled');
    }),
  );

  it(
    'leaves alone what is written after its pipeline was aborted',
    bench(async (image) => {
      const abort = new AbortController();
      const stream = image.createWriteStream();
      const { write } = stream;
      const begun = new Promise<void>((resolve) => {
        stream.write = (...given: unknown[]) => {
          resolve();
          return Reflect.apply(write, stream, given);
        };
      });
      const piped = pipeline(Readable.from([striped(SIZE)]), stream, { signal: abort.signal }).catch(
        (error: unknown) => error,
      );
      await begun;
      while (image.stats.writeOperations < 10) await image.flush();
      abort.abort();
      expect(await piped).to.have.property('name', 'AbortError');
      await image.write(0, Buffer.alloc(SIZE, 9));
      for (let i = 0; i < 50; i++) await setImmediate();
      expect((await image.read(0, SIZE)).equals(Buffer.alloc(SIZE, 9))).to.equal(true);
    }),
  );

  for (const length of [1, 1460, 4097, 65535, 3 * MiB + 1]) {
    it(
      `makes holes of zeroes in chunks of ${length} bytes`,
      bench(async (image) => {
        const bytes = Buffer.alloc(length === 1 ? 64 * KiB : SIZE);
        await pipeline(Readable.from(reused(bytes, length)), image.createWriteStream());
        expect(await dataBytes(image)).to.equal(0);
      }),
    );

    it(
      `writes what it is given in chunks of ${length} bytes, wherever it begins`,
      bench(async (image) => {
        const bytes = striped(length === 1 ? 64 * KiB : 5 * MiB + 321);
        bytes.fill(7, 10_000, 10_100);
        for (const from of [0, 1000, 4095]) {
          await image.write(0, Buffer.alloc(SIZE, 5));
          await pipeline(Readable.from(reused(bytes, length)), image.createWriteStream({ from }));
          const expected = Buffer.alloc(SIZE, 5);
          bytes.copy(expected, from);
          expect((await image.read(0, SIZE)).equals(expected), `from ${from}`).to.equal(true);
        }
      }),
    );
  }

  it(
    'makes a hole of the zeroes at the end of an image that does not end with a block',
    bench(async (image) => {
      await pipeline(Readable.from(reused(Buffer.alloc(MiB + 512), 1000)), image.createWriteStream());
      expect(await dataBytes(image)).to.equal(0);
    }, MiB + 512),
  );

  it(
    'keeps what waits for its block in memory of its own',
    bench(async (image) => {
      const stream = image.createWriteStream();
      const chunk = Buffer.alloc(100, 1);
      await new Promise((resolve) => stream.write(chunk, resolve));
      chunk.fill(2);
      stream.end(chunk);
      await finished(stream);
      expect((await image.read(0, 200)).equals(Buffer.concat([Buffer.alloc(100, 1), chunk]))).to.equal(true);
    }),
  );

  it(
    'has an error at the end where the image became too short for the last bytes',
    bench(async (image) => {
      const stream = image.createWriteStream();
      await new Promise((resolve) => stream.write(Buffer.alloc(100, 1), resolve));
      await image.resize(0);
      stream.end();
      expect((await failureOf(finished(stream))).code).to.equal('out-of-bounds');
    }),
  );

  it(
    'is not made of an image that is closed',
    bench(async (image) => {
      await image.close();
      for (const make of [() => image.createWriteStream(), () => image.createReadStream()]) {
        expect(make).to.throw().with.property('code', 'closed');
      }
    }),
  );
});
