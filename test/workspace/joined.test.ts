// Images that are read as one: content, block status, what is refused, and their conversion into one.

import { expect } from 'chai';
import { backingOf } from '../../src/block/chain.js';
import { createImage } from '../../src/block/create.js';
import type { BlockNode } from '../../src/block/node/node.js';
import { openNode } from '../../src/block/open.js';
import { Random } from '../../src/host/sim/index.js';
import { convertImage } from '../../src/workspace/convert.js';
import { joinImages } from '../../src/workspace/joined.js';
import { openToRead } from '../../src/workspace/open.js';
import { contentOf } from '../block/support.js';
import { type Bench, failureOf, linkTo, makeBench } from '../drivers/support.js';
import { seedOf } from '../support/sample.js';

const SEED = seedOf(11);
const MAX_BYTES = 300_000;

/** An image with some data and holes, and what it holds. */
async function makeImage(bench: Bench, random: Random, path: string): Promise<{ node: BlockNode; content: Buffer }> {
  const driver = random.pick(['raw', 'qcow2'] as const);
  const size = random.chance(0.1) ? 0 : random.between(1, MAX_BYTES);
  const sectors = Math.ceil(size / 512) * 512;
  if (driver === 'qcow2') {
    const clusterSize = random.pick([512, 4096, 65536]);
    await createImage(bench.graph, path, { driver, size: sectors, 'cluster-size': clusterSize });
  } else {
    bench.host.writeFile(path, Buffer.alloc(size));
  }
  const length = driver === 'raw' ? size : sectors;
  const content = Buffer.alloc(length);
  const writer = await openNode(bench.graph, path, { format: driver });
  const link = linkTo(writer);
  for (let i = random.between(0, 3); i > 0 && length > 0; i--) {
    const offset = random.between(0, length - 1);
    const data = Buffer.alloc(random.between(1, Math.min(length - offset, 40_000)), i);
    await link.write(offset, data);
    data.copy(content, offset);
  }
  writer.detach(link);
  await bench.graph.release(writer);
  const node = await openToRead(bench.graph, path, { format: driver }, 'copy');
  return { node, content: Buffer.concat([content, Buffer.alloc(Math.ceil(length / 512) * 512 - length)]) };
}

async function makeJoined(bench: Bench, random: Random): Promise<{ node: BlockNode; content: Buffer }> {
  const images = [];
  for (let i = random.between(2, 5); i > 0; i--) images.push(await makeImage(bench, random, `/${i}`));
  const node = joinImages(
    bench.graph,
    images.map((image) => image.node),
  );
  return { node, content: Buffer.concat(images.map((image) => image.content)) };
}

describe('joined images', () => {
  it(`read as their contents one behind the other, in any pieces, and call zero only what is (seed ${SEED})`, async () => {
    for (let seed = SEED; seed < SEED + 12; seed++) {
      const random = new Random(seed);
      const bench = makeBench();
      const { node, content } = await makeJoined(bench, random);
      expect(node.length, `seed ${seed}`).to.equal(content.length);
      if (node.length === 0) continue;
      expect((await contentOf(node)).equals(content), `seed ${seed}`).to.equal(true);
      for (let i = 0; i < 20; i++) {
        const offset = random.between(0, node.length - 1);
        const length = random.between(1, node.length - offset);
        const part = await contentOf(node, offset, length);
        expect(part.equals(content.subarray(offset, offset + length)), `seed ${seed}: ${offset}+${length}`).to.equal(
          true,
        );
        for (const status of [await node.blockStatus(offset, length), node.blockStatusSync(offset, length)]) {
          if (status === null) continue;
          expect(status.length).to.be.within(1, length);
          const run = content.subarray(offset, offset + status.length);
          if (status.zero)
            expect(
              run.every((byte) => byte === 0),
              `seed ${seed}: zero at ${offset}`,
            ).to.equal(true);
        }
      }
      await bench.graph.closeAll();
    }
  });

  it('are converted into one image', async () => {
    for (let seed = SEED; seed < SEED + 12; seed++) {
      const random = new Random(seed);
      const bench = makeBench();
      const { node: source, content } = await makeJoined(bench, random);
      const driver = random.pick(['raw', 'qcow2'] as const);
      const compress = driver === 'qcow2' && random.chance(0.3);
      await convertImage(bench.graph, {
        source,
        target: '/target',
        format: driver,
        create: (size) => ({ driver, size }),
        compress,
        sparseSize: random.pick([undefined, 0, 65536]),
      });
      const target = await openToRead(bench.graph, '/target', { format: driver });
      expect((await contentOf(target)).equals(content), `seed ${seed}`).to.equal(true);
      await bench.graph.closeAll();
    }
  });

  it('are read alone, and their parts and what these lie on cannot be the target', async () => {
    const bench = makeBench();
    await createImage(bench.graph, '/base', { driver: 'qcow2', size: 1 << 20 });
    await createImage(bench.graph, '/top', {
      driver: 'qcow2',
      size: 1 << 20,
      'backing-file': '/base',
      'backing-fmt': 'qcow2',
    });
    const top = await openToRead(bench.graph, '/top', {}, 'copy');
    const source = joinImages(bench.graph, [top, top]);
    expect(backingOf(source)).to.equal(null);
    expect((await failureOf(source.write(0, Buffer.alloc(512)))).code).to.equal('read-only');
    for (const target of ['/top', '/base']) {
      const failure = await failureOf(convertImage(bench.graph, { source, target, format: 'qcow2', create: null }));
      expect(failure.code, target).to.equal('locked');
    }
    await bench.graph.closeAll();
  });

  it('are refused where they are too large together', async () => {
    const bench = makeBench();
    const large = await openNode(bench.graph, { driver: 'null-co', size: 2 ** 52 });
    const { code, reason } = await failureOf((async () => joinImages(bench.graph, [large, large]))());
    expect([code, reason]).to.deep.equal([
      'limit',
      'Image sizes beyond 9007199254740991 bytes (2^53 - 1) are not supported',
    ]);
    await bench.graph.closeAll();
  });
});
