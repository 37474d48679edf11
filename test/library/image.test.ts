// An open image as a program has it in hand. On the simulated host.

import { finished, pipeline } from 'node:stream/promises';
import { inspect } from 'node:util';
import { expect } from 'chai';
import { createSimHost } from '../../src/host/sim/index.js';
import type { Bitmap } from '../../src/library/bitmap.js';
import type { Image } from '../../src/library/image.js';
import { Workspace } from '../../src/library/workspace.js';
import type { ImageExtent } from '../../src/workspace/extents.js';
import { failureOf } from '../drivers/support.js';

const KiB = 1024;
const MiB = 1024 * KiB;

/** An overlay of 1 MiB: data of the base at [0, 64 KiB), of its own at [128 KiB, 192 KiB), zeroes of its own at [256 KiB, 320 KiB). */
function bench(work: (image: Image, workspace: Workspace) => Promise<void>): () => Promise<void> {
  return async () => {
    const host = createSimHost({});
    await host.run(async () => {
      const workspace = new Workspace(host);
      await workspace.create('/base', { driver: 'qcow2', size: MiB });
      const base = await workspace.open('/base');
      await base.write(0, new Uint8Array(64 * KiB).fill(1));
      await base.close();
      await workspace.create('/a', { driver: 'qcow2', 'backing-file': '/base', 'backing-fmt': 'qcow2' });
      const image = await workspace.open('/a');
      await image.write(128 * KiB, new Uint8Array(64 * KiB).fill(2));
      await image.writeZeroes(256 * KiB, 64 * KiB);
      await work(image, workspace);
      await workspace.close();
    });
  };
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

function run(offset: number, length: number, kind: 'data' | 'zero', allocated: boolean): ImageExtent {
  return { offset: offset * KiB, length: length * KiB, data: kind === 'data', zero: kind === 'zero', allocated };
}

describe('an image of the library', () => {
  it(
    'reads into a buffer of its own',
    bench(async (image) => {
      const found = await image.read(128 * KiB, 4);
      expect([...found]).to.deep.equal([2, 2, 2, 2]);
      expect((await failureOf(image.read(MiB - 1, 2))).code).to.equal('out-of-bounds');
      expect((await failureOf(image.read(0, 2 ** 50))).code).to.equal('out-of-bounds');
      expect((await failureOf(image.read(0, -1))).code).to.equal('invalid-argument');
      expect(await image.read(MiB, 0)).to.have.lengthOf(0);
    }),
  );

  it(
    'has a size that changes',
    bench(async (image) => {
      await image.resize(2 * MiB);
      expect(image.size).to.equal(2 * MiB);
      expect((await failureOf(image.resize(-1))).message).to.match(/^resize: 'size'/);
    }),
  );

  it(
    'tells its extents: data, zeroes, and whether they are its own',
    bench(async (image) => {
      expect(await all(image.extents())).to.deep.equal([
        run(0, 64, 'data', false),
        run(64, 64, 'zero', false),
        run(128, 64, 'data', true),
        run(192, 64, 'zero', false),
        run(256, 64, 'zero', true),
        run(320, 704, 'zero', false),
      ]);
      expect(await all(image.extents({ from: 32 * KiB, to: 160 * KiB }))).to.deep.equal([
        run(32, 32, 'data', false),
        run(64, 64, 'zero', false),
        run(128, 32, 'data', true),
      ]);
      expect(() => image.extents({ from: 5, to: 4 }))
        .to.throw()
        .with.property('code', 'out-of-bounds');
      expect(() => image.extents({ until: 4 } as never))
        .to.throw()
        .with.property('code', 'unknown-option');
    }),
  );

  it(
    'tells of thousands of extents in pieces, while it is written to',
    bench(async (image) => {
      await image.resize(256 * MiB);
      for (let at = 0; at < 256 * MiB; at += 256 * KiB) await image.write(at, new Uint8Array(64 * KiB).fill(3));
      let count = 0;
      let end = 0;
      for await (const { offset, length } of image.extents()) {
        expect(offset).to.equal(end);
        end = offset + length;
        if (count++ === 100) await image.write(offset, new Uint8Array(512));
      }
      expect(end).to.equal(256 * MiB);
      expect(count).to.be.greaterThan(2000);
    }),
  );

  it(
    'is read as a stream, without reading what is zero',
    bench(async (image) => {
      const before = image.stats.readBytes;
      const chunks = await all(image.createReadStream({ highWaterMark: 16 * KiB }));
      expect(image.stats.readBytes - before).to.equal(128 * KiB);
      expect(Buffer.concat(chunks).equals(await image.read(0, MiB))).to.equal(true);
    }),
  );

  it(
    'is written as a stream, with holes where there are zeroes',
    bench(async (image, workspace) => {
      await workspace.create('/copy', { driver: 'qcow2', size: MiB });
      const copy = await workspace.open('/copy');
      await pipeline(image.createReadStream(), copy.createWriteStream());
      expect((await copy.read(0, MiB)).equals(await image.read(0, MiB))).to.equal(true);
      expect((await all(copy.extents())).filter(({ data }) => data)).to.deep.equal([
        run(0, 64, 'data', true),
        run(128, 64, 'data', true),
      ]);
      const middle = copy.createWriteStream({ from: 1000 });
      middle.end(Buffer.alloc(10_000));
      await finished(middle);
      expect((await copy.read(1000, 10_000)).equals(Buffer.alloc(10_000))).to.equal(true);
      expect((await copy.read(11_000, 1))[0]).to.equal(1);
      const beyond = copy.createWriteStream({ from: MiB - 4 });
      beyond.end(Buffer.alloc(8, 1));
      expect((await failureOf(finished(beyond))).code).to.equal('out-of-bounds');
    }),
  );

  it(
    'is a web stream, that can be left in its middle',
    bench(async (image) => {
      const bytes = await new Response(image.readable({ from: 128 * KiB, to: 128 * KiB + 8 })).arrayBuffer();
      expect([...new Uint8Array(bytes)]).to.deep.equal([2, 2, 2, 2, 2, 2, 2, 2]);
      const reader = image.readable({ highWaterMark: 4096 }).getReader();
      expect((await reader.read()).value).to.have.lengthOf(4096);
      await reader.cancel();
    }),
  );

  it(
    'merges bitmaps of any granularity, all or none',
    bench(async (image) => {
      const [one, two, all] = [
        image.addBitmap('one', 4096),
        image.addBitmap('two', 65536),
        image.addBitmap('all', 512),
      ];
      one.disable();
      await image.write(70_000, new Uint8Array(10));
      one.enable();
      two.disable();
      await image.write(5000, new Uint8Array(10));
      all.clear();
      const broken = image.addBitmap('broken', 4096);
      broken.merge(one, two);
      expect([...broken.runs()]).to.deep.equal([
        { offset: 4096, length: 4096 },
        { offset: 65536, length: 65536 },
      ]);
      expect([one.persistent, one.inconsistent]).to.deep.equal([false, false]);
      expect(() => all.merge(one, {} as Bitmap)).to.throw(/'sources\[1\]'/);
      expect([...all.runs()]).to.deep.equal([]);
      all.merge(two);
      all.merge(one);
      expect([...all.runs()]).to.deep.equal([...broken.runs()]);
    }),
  );

  it(
    'records what is written in a bitmap',
    bench(async (image) => {
      const bitmap = image.addBitmap('b', 4096);
      await image.write(5000, new Uint8Array(10));
      await image.write(128 * KiB, new Uint8Array(8192));
      expect([...bitmap.runs()]).to.deep.equal([
        { offset: 4096, length: 4096 },
        { offset: 128 * KiB, length: 8192 },
      ]);
      expect(
        image.bitmaps.map(({ name, granularity, dirtyBytes, recording, busy }) => [
          name,
          granularity,
          dirtyBytes,
          recording,
          busy,
        ]),
      ).to.deep.equal([['b', 4096, 12288, true, false]]);
      bitmap.disable();
      bitmap.clear();
      await image.write(0, new Uint8Array(512));
      expect([...bitmap.runs()]).to.deep.equal([]);
      image.removeBitmap('b');
      expect(image.bitmaps).to.deep.equal([]);
    }),
  );

  it(
    'is closed at the end of its block',
    bench(async (image) => {
      await image[Symbol.asyncDispose]();
      expect((await failureOf(image.read(0, 1))).code).to.equal('closed');
      expect(inspect(image)).to.equal('Image { closed }');
    }),
  );

  it(
    'shows its file and size, and has nothing of the machinery',
    bench(async (image) => {
      expect(inspect(image)).to.equal("Image { filename: '/a', size: 1048576, writable: true }");
      for (const inner of [
        'beginRead',
        'beginWrite',
        'ended',
        'givenUp',
        'drainBegin',
        'drained',
        'node',
        'host',
        'use',
      ]) {
        expect(inner in image, inner).to.equal(false);
      }
    }),
  );
});
