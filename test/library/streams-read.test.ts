// Read streams of an image that is written to and resized meanwhile. On the simulated host.

import { expect } from 'chai';
import { createSimHost } from '../../src/host/sim/index.js';
import type { Image } from '../../src/library/image.js';
import { Workspace } from '../../src/library/workspace.js';
import { failureOf } from '../drivers/support.js';

const KiB = 1024;
const MiB = 1024 * KiB;
const SIZE = 32 * MiB;

function bench(work: (image: Image) => Promise<void>): () => Promise<void> {
  return async () => {
    const host = createSimHost({});
    await host.run(async () => {
      const workspace = new Workspace(host);
      await workspace.create('/a', { driver: 'qcow2', size: SIZE });
      await work(await workspace.open('/a'));
      await workspace.close();
    });
  };
}

async function readThrough(image: Image, first: () => Promise<void>): Promise<number> {
  let bytes = 0;
  for await (const chunk of image.createReadStream()) {
    if (bytes === 0) await first();
    bytes += chunk.length;
  }
  return bytes;
}

describe('a read stream of an image', () => {
  for (const [what, fill] of [
    ['zeroes', async () => {}],
    ['data', (image: Image) => image.write(0, Buffer.alloc(SIZE, 1))],
    [
      'many runs',
      async (image: Image) => {
        for (let at = 0; at < SIZE; at += 128 * KiB) await image.write(at, Buffer.alloc(64 * KiB, 1));
      },
    ],
  ] as const) {
    for (const size of [SIZE / 2, 4 * MiB, 0]) {
      it(
        `has an error where an image of ${what} is made as short as ${size} bytes meanwhile`,
        bench(async (image) => {
          await fill(image);
          const error = await failureOf(readThrough(image, () => image.resize(size)));
          expect(error.code).to.equal('out-of-bounds');
        }),
      );
    }

    it(
      `reads an image of ${what} to the end that it had, where it grows meanwhile`,
      bench(async (image) => {
        await fill(image);
        expect(await readThrough(image, () => image.resize(2 * SIZE))).to.equal(SIZE);
      }),
    );
  }

  it(
    'gives what was written far ahead of it, where there were zeroes when it began',
    bench(async (image) => {
      const found = [];
      for await (const chunk of image.createReadStream()) {
        if (found.length === 0) await image.write(16 * MiB, Buffer.alloc(MiB, 6));
        found.push(chunk);
      }
      expect(Buffer.concat(found).equals(await image.read(0, SIZE))).to.equal(true);
      expect(Buffer.concat(found)[16 * MiB]).to.equal(6);
    }),
  );

  it(
    'gives chunks of one size, but for the last',
    bench(async (image) => {
      const lengths = [];
      for await (const chunk of image.createReadStream({ highWaterMark: 5 * MiB + 1, from: 3 })) {
        lengths.push(chunk.length);
      }
      expect(lengths.slice(0, -1)).to.deep.equal(new Array(6).fill(5 * MiB + 1));
    }),
  );
});
