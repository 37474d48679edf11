// Places of the host's copy step in blocks that are larger than what is copied.

import { expect } from 'chai';
import { createImage } from '../../../src/block/create.js';
import type { BlockNode } from '../../../src/block/node/node.js';
import { openNode } from '../../../src/block/open.js';
import type { Extent, MovePlace } from '../../../src/block/types.js';
import type { HostFile, Moved } from '../../../src/host/host.js';
import { BlockError } from '../../../src/util/errors.js';
import { makeBench, readNode, used } from '../support.js';

const MIB = 1 << 20;
const STEP = 64 << 10;

async function makeDisk(): Promise<{ node: BlockNode; close: () => Promise<void> }> {
  const bench = makeBench();
  await createImage(bench.graph, '/a', { driver: 'vdi', size: 8 * MIB });
  const node = await used(openNode(bench.graph, '/a', { format: 'vdi' }));
  return { node, close: () => bench.graph.closeAll() };
}

/** Writes `byte` where a place is, as the host would. */
async function fill({ target, parts }: MovePlace, byte: number): Promise<void> {
  for (const { to, length } of parts) await (target as HostFile).write(to, Buffer.alloc(length, byte));
}

const moved = (zeroes: readonly number[]): Moved => ({ slices: [], map: Uint8Array.from(zeroes), fault: null });
const part = (offset: number, length = STEP): Extent => ({ offset, length });

async function bytesAt(node: BlockNode, offset: number): Promise<number> {
  const found = Buffer.alloc(STEP);
  await readNode(node, offset, found);
  expect(new Set(found).size, 'one byte all over').to.equal(1);
  return found[0];
}

async function lengthOfData(node: BlockNode): Promise<number> {
  const status = await node.blockStatus(0, MIB);
  return status.data ? status.length : 0;
}

describe('places for a copy in a part of a block', () => {
  it('are in a new block, of which the rest reads as zeroes', async () => {
    const { node, close } = await makeDisk();
    const place = await node.prepareMove([part(STEP), part(MIB - STEP, 2 * STEP)], STEP);
    expect(place!.parts.map(({ length }) => length)).to.deep.equal([STEP, 2 * STEP]);
    await fill(place!, 7);
    place!.done(moved([0, 0, 0]));
    const found: number[] = [];
    for (const at of [0, STEP, 2 * STEP, MIB - STEP, MIB, MIB + STEP]) found.push(await bytesAt(node, at));
    expect(found).to.deep.equal([0, 7, 0, 7, 7, 0]);
    await close();
  });

  it('make no block where all that came for it is zeroes', async () => {
    const { node, close } = await makeDisk();
    const place = await node.prepareMove([part(STEP), part(4 * STEP), part(MIB)], STEP);
    place!.done(moved([1, 1, 0]));
    expect(await lengthOfData(node)).to.equal(0);
    expect((await node.blockStatus(MIB, MIB)).data).to.equal(true);
    await close();
  });

  it('make one where the last step of several is not', async () => {
    const { node, close } = await makeDisk();
    const place = await node.prepareMove([part(STEP), part(4 * STEP)], STEP);
    place!.done(moved([1, 0]));
    expect(await lengthOfData(node)).to.equal(MIB);
    await close();
  });

  it('wait for the one that makes the block, and not for each other then', async () => {
    const { node, close } = await makeDisk();
    const first = await node.prepareMove([part(0)], STEP);
    let isThere = false;
    const waiting = node.prepareMove([part(STEP)], STEP).then((place) => {
      isThere = true;
      return place;
    });
    await fill(first!, 1);
    expect(isThere).to.equal(false);
    first!.done(moved([0]));
    const second = await waiting;
    const third = await node.prepareMove([part(2 * STEP)], STEP);
    await Promise.all([fill(second!, 2), fill(third!, 3)]);
    for (const place of [third, second]) place!.done(moved([0]));
    const found: number[] = [];
    for (const at of [0, STEP, 2 * STEP, 3 * STEP]) found.push(await bytesAt(node, at));
    expect(found).to.deep.equal([1, 2, 3, 0]);
    await close();
  });

  it('are not in space that holds something else: that is left to a write', async () => {
    const { node, close } = await makeDisk();
    const failed = await node.prepareMove([part(0)], STEP);
    const behind = await node.prepareMove([part(MIB)], STEP);
    await fill(failed!, 9);
    await fill(behind!, 5);
    behind!.done(moved([0]));
    const error = new BlockError('io', 'the disk is broken');
    failed!.done({ ...moved([]), fault: { error, isRead: false, piece: 0 } });
    // The space of the first block is free again, with what was written there.
    expect(await node.prepareMove([part(STEP)], STEP)).to.equal(null);
    await node.write(STEP, Buffer.alloc(STEP, 6));
    const found: number[] = [];
    for (const at of [0, STEP]) found.push(await bytesAt(node, at));
    expect(found).to.deep.equal([0, 6]);
    await close();
  });
});
