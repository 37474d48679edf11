// Backing chains: who is in them, and the status of a range over layers of different lengths. Layers in memory, clusters of 64 KiB.

import { expect } from 'chai';
import { chainOf, chainStatus, determiningStatus, inChain, nodesAbove, overlayOf } from '../../src/block/chain.js';
import type { BlockNode } from '../../src/block/node/node.js';
import { openNode } from '../../src/block/open.js';
import { BlockError } from '../../src/util/errors.js';
import { failureOf, makeBench, pattern } from '../drivers/support.js';
import { MemoryNode } from '../jobs/memory-node.js';

const K64 = 65536;

/** Layers by name from the base up. A letter is a cluster: `d` data, `z` zero, `.` comes from below. */
function makeChain(layers: Record<string, string>): MemoryNode[] {
  const { graph } = makeBench();
  const made: MemoryNode[] = [];
  for (const [name, clusters] of Object.entries(layers)) {
    const node = new MemoryNode(graph, { name, size: clusters.length * K64, backing: made[0] });
    [...clusters].forEach((kind, index) => {
      if (kind === 'd') node.poke(index * K64, pattern(K64, index + 1));
      if (kind === 'z') node.pokeZero(index * K64, K64);
    });
    made.unshift(node);
  }
  return made;
}

/** `2 data @mid` = two clusters of data in `mid`. Checks that each answer is as long as it can be asked for in pieces. */
async function walk(top: BlockNode, base: BlockNode | null = null): Promise<string[]> {
  const runs: string[] = [];
  for (let offset = 0; offset < top.length; ) {
    const status = await chainStatus(top, base, offset, top.length - offset);
    const kind = status.data ? 'data' : status.zero ? 'zero' : 'unknown';
    const where = status.layer === null ? 'nobody' : status.layer.nodeName;
    expect(status.allocated).to.equal(status.layer !== null);
    runs.push(`${status.length / K64} ${kind} @${where} ${status.depth}`);
    offset += status.length;
  }
  return runs;
}

describe('chains', () => {
  it('are walked from the top', () => {
    const [top, mid, base] = makeChain({ base: 'd', mid: '.', top: '.' });
    expect(chainOf(top)).to.deep.equal([top, mid, base]);
    expect([inChain(top, base), inChain(mid, top)]).to.deep.equal([true, false]);
    expect([overlayOf(top, base), overlayOf(top, mid), overlayOf(top, top), overlayOf(mid, top)]).to.deep.equal([
      mid,
      top,
      null,
      null,
    ]);
    expect(nodesAbove(top, base)).to.deep.equal([top, mid]);
    expect(nodesAbove(top, top)).to.deep.equal([]);
    expect(nodesAbove(top, null)).to.deep.equal([top, mid, base]);
  });

  it('refuse a base that is not below', () => {
    const [top, mid] = makeChain({ base: 'd', mid: '.', top: '.' });
    expect(() => nodesAbove(mid, top))
      .to.throw(BlockError, "'/top.img' is not in the backing chain of '/mid.img'")
      .with.property('code', 'invalid-argument');
  });
});

describe('chain status', () => {
  it('names the layer that has a run', async () => {
    const [top] = makeChain({ base: 'ddddd', mid: '..dd.', top: 'd..z.' });
    expect(await walk(top)).to.deep.equal([
      '1 data @top 0',
      '1 data @base 2',
      '1 data @mid 1',
      '1 zero @top 0',
      '1 data @base 2',
    ]);
  });

  it('coalesces what is alike and ends where a layer changes', async () => {
    const [top] = makeChain({ base: 'dddddddd', mid: '....dd..', top: 'zz......' });
    expect(await walk(top)).to.deep.equal(['2 zero @top 0', '2 data @base 2', '2 data @mid 1', '2 data @base 2']);
  });

  it('of a backing node that ends early: zeroes of that layer behind its end', async () => {
    const [top] = makeChain({ base: 'dd', mid: '....', top: '......' });
    expect(await walk(top)).to.deep.equal(['2 data @base 2', '2 zero @base 2', '2 zero @mid 1']);
  });

  it('of a short backing node above a long one: the long one does not shine through', async () => {
    const [top] = makeChain({ base: 'dddd', mid: '.', top: '....' });
    expect(await walk(top)).to.deep.equal(['1 data @base 2', '3 zero @mid 1']);
    expect(
      top
        .content()
        .subarray(K64)
        .every((byte) => byte === 0),
    ).to.equal(true);
  });

  it('of a longer backing node ends with the top', async () => {
    const [top] = makeChain({ base: 'dddd', top: '..' });
    expect(await walk(top)).to.deep.equal(['2 data @base 1']);
  });

  it('of what nobody has is zeroes at the end of the chain', async () => {
    const [top] = makeChain({ base: '..', top: '..' });
    expect(await walk(top)).to.deep.equal(['2 zero @nobody 1']);
  });

  it('above a base says nothing of what the base has', async () => {
    const [top, , base] = makeChain({ base: 'd...', mid: '.d..', top: '..z.' });
    expect(await walk(top, base)).to.deep.equal([
      '1 unknown @nobody -1',
      '1 data @mid 1',
      '1 zero @top 0',
      '1 unknown @nobody -1',
    ]);
  });

  it('above a base counts what a short layer cuts off', async () => {
    const [top, , base] = makeChain({ base: 'ddd', mid: '.', top: '...' });
    expect(await walk(top, base)).to.deep.equal(['1 unknown @nobody -1', '2 zero @mid 1']);
  });

  it('of a bottom that cannot tell is unknown, not zeroes', async () => {
    const { graph } = makeBench();
    const node = await openNode(graph, { driver: 'null-co', size: K64 });
    expect(await walk(node)).to.deep.equal(['1 unknown @nobody 0']);
  });

  it('holds for any part of the range', async () => {
    const [top] = makeChain({ base: 'd', top: '..' });
    expect(await chainStatus(top, null, 100, 10)).to.include({ length: 10, depth: 1, data: true });
    expect(await chainStatus(top, null, K64 - 1, 2)).to.include({ length: 1, data: true });
    expect(await chainStatus(top, null, K64, 1)).to.include({ length: 1, data: false, zero: true });
  });

  it('passes on what a layer is rejected with', async () => {
    const [top, base] = makeChain({ base: 'd', top: '.' });
    await base.close();
    expect((await failureOf(chainStatus(top, null, 0, K64))).code).to.equal('closed');
  });

  it('determine a run in the layer above a backing file that is too short for it', async () => {
    const [top] = makeChain({ base: 'd', mid: '..', top: '..d.' });
    const found: string[] = [];
    for (let offset = 0; offset < top.length; ) {
      const { status, depth, layer } = await determiningStatus(top, offset, top.length - offset);
      found.push(`${status.length / K64} @${layer.nodeName} ${depth} ${status.allocated}`);
      offset += status.length;
    }
    expect(found).to.deep.equal(['1 @base 2 true', '1 @mid 1 false', '1 @top 0 true', '1 @top 0 false']);
  });
});
