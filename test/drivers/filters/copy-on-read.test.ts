// copy-on-read over an overlay, on a simulated disk: what is copied, and what is located past it.

import { expect } from 'chai';
import { createImage } from '../../../src/block/create.js';
import type { BlockNode } from '../../../src/block/node/node.js';
import { openNode } from '../../../src/block/open.js';
import type { Located } from '../../../src/block/types.js';
import type { SimHostOptions } from '../../../src/host/sim/index.js';
import type { BlockdevOptions } from '../../../src/schema/generated/types.js';
import { type Bench, failureOf, linkTo, makeBench, pattern, used } from '../support.js';

const CLUSTER = 4096;
const SIZE = 64 * CLUSTER + 512;

interface Chain {
  bench: Bench;
  content: Uint8Array;
  top: BlockNode;
  filter: BlockNode;
}

/** 'top' over 'mid' over 'base': the base has the first half, the middle its clusters 40 to 44, the top cluster 2. */
async function chain(own: object = {}, host: SimHostOptions = {}): Promise<Chain> {
  const bench = makeBench(host);
  const { graph } = bench;
  const content = new Uint8Array(SIZE);
  content.set(pattern(SIZE / 2));
  bench.host.writeFile('/base', content.slice());
  for (const [path, below, format] of [
    ['/mid', '/base', 'raw'],
    ['/top', '/mid', 'qcow2'],
  ]) {
    const shape = { driver: 'qcow2', size: SIZE, 'cluster-size': CLUSTER } as const;
    await createImage(graph, path, { ...shape, 'backing-file': below, 'backing-fmt': format as 'raw' });
  }
  const open = (options: object) => openNode(graph, options as BlockdevOptions, { discard: 'unmap' });
  const file = (filename: string) => ({ driver: 'file', filename });
  await open({ driver: 'raw', 'node-name': 'base', file: file('/base') });
  const mid = await open({ driver: 'qcow2', 'node-name': 'mid', file: file('/mid'), backing: 'base' });
  const link = linkTo(mid);
  await link.write(40 * CLUSTER, new Uint8Array(4 * CLUSTER).fill(40));
  mid.detach(link);
  const top = await open({ driver: 'qcow2', 'node-name': 'top', file: file('/top'), backing: 'mid' });
  const filter = await used(open({ driver: 'copy-on-read', 'node-name': 'cor', file: 'top', ...own }));
  await filter.write(2 * CLUSTER, new Uint8Array(CLUSTER).fill(2));
  content.fill(40, 40 * CLUSTER, 44 * CLUSTER).fill(2, 2 * CLUSTER, 3 * CLUSTER);
  return { bench, content, top, filter };
}

/** The clusters that the top holds. */
async function held(top: BlockNode): Promise<number[]> {
  const clusters: number[] = [];
  for (let cluster = 0; cluster * CLUSTER < SIZE; cluster++) {
    if ((await top.blockStatus(cluster * CLUSTER, 1)).allocated) clusters.push(cluster);
  }
  return clusters;
}

async function read(node: BlockNode, offset: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  await node.read(offset, bytes);
  return bytes;
}

const place = (): Located => ({ file: null, offset: 0, guard: null });

describe('copy-on-read', () => {
  it('copies the clusters that a read touches, and no others', async () => {
    const { content, top, filter } = await chain();
    expect(await held(top)).to.deep.equal([2]);
    expect(await read(filter, 5 * CLUSTER - 1, CLUSTER + 2)).to.deep.equal(
      content.slice(5 * CLUSTER - 1, 6 * CLUSTER + 1),
    );
    await read(filter, 41 * CLUSTER + 7, 1);
    await read(filter, SIZE - 1, 1);
    expect(await held(top)).to.deep.equal([2, 4, 5, 6, 41, 64]);
    expect(await read(filter, 0, SIZE)).to.deep.equal(content);
    expect(await held(top)).to.have.lengthOf(65);
    expect(await read(top, 0, SIZE)).to.deep.equal(content);
  });

  it('stores what reads as zeroes as zeroes', async () => {
    const { top, filter } = await chain();
    await read(filter, 50 * CLUSTER, CLUSTER);
    const { allocated, zero } = await top.blockStatus(50 * CLUSTER, CLUSTER);
    expect({ allocated, zero }).to.deep.equal({ allocated: true, zero: true });
  });

  it('copies from the layers down to the bottom only', async () => {
    const { content, top, filter } = await chain({ bottom: 'mid' });
    expect(await read(filter, 0, SIZE)).to.deep.equal(content);
    expect(await held(top)).to.deep.equal([2, 40, 41, 42, 43]);
  });

  it('locates reads of what the top holds, and no others', async () => {
    const { filter } = await chain();
    expect(filter.locate(2 * CLUSTER, CLUSTER, false, place())).to.equal(true);
    expect(filter.locate(3 * CLUSTER, CLUSTER, false, place())).to.equal(false);
    await read(filter, 3 * CLUSTER, 1);
    expect(filter.locate(3 * CLUSTER, CLUSTER, false, place())).to.equal(true);
    await read(filter, 50 * CLUSTER, 1);
    expect(filter.locate(50 * CLUSTER, CLUSTER, false, place())).to.equal(true);
  });

  it('never puts old content over what a guest writes meanwhile', async () => {
    for (let seed = 1; seed <= 20; seed++) {
      const { content, top, filter, bench } = await chain();
      const work: Promise<unknown>[] = [];
      for (let i = 0; i < 30; i++) {
        const at = ((seed * 7 + i * 13) % 60) * CLUSTER;
        work.push(read(filter, at, 2 * CLUSTER));
        work.push(filter.write(at + 100, Uint8Array.of(i + 1)));
        content[at + 100] = i + 1;
      }
      await Promise.all(work);
      expect(await read(filter, 0, SIZE), `seed ${seed}`).to.deep.equal(content);
      expect(await read(top, 0, SIZE)).to.deep.equal(content);
      await bench.graph.closeAll();
    }
  });

  it('lets nobody write past it, and copies for a user that only reads', async () => {
    const { content, top, filter } = await chain();
    expect(() => linkTo(top)).to.throw('Permission conflict');
    const [user] = filter.parents;
    filter.detach(user);
    const reader = linkTo(filter, 1);
    const bytes = new Uint8Array(512);
    await reader.read(8 * CLUSTER, bytes);
    expect(bytes).to.deep.equal(content.slice(8 * CLUSTER, 8 * CLUSTER + 512));
    expect(await held(top)).to.deep.equal([2, 8]);
  });

  it('fails a read whose copy cannot be stored', async () => {
    const { bench, filter } = await chain();
    bench.host.setFaults({ rules: [{ operations: ['write'], errno: 'ENOSPC', times: 1 }] });
    expect((await failureOf(read(filter, 10 * CLUSTER, 1))).code).to.equal('no-space');
    await read(filter, 10 * CLUSTER, 1);
  });

  it('is refused over a node that cannot be written, and with a bottom that is not below', async () => {
    const { bench } = await chain();
    const open = (options: object) => openNode(bench.graph, options as BlockdevOptions);
    // It has a user, so that it stays.
    linkTo(await open({ driver: 'null-co', 'node-name': 'ro', 'read-only': true }), 1);
    expect((await failureOf(open({ driver: 'copy-on-read', file: 'ro' }))).code).to.equal('read-only');
    const other = open({ driver: 'copy-on-read', file: 'top', bottom: 'ro' });
    expect((await failureOf(other)).message).to.contain("Bottom node 'ro' is not below 'top'");
  });
});
