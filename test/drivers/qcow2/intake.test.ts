// Room for data that the host's copy step writes: where there is none, nothing stays allocated, and the gaps that runs leave are punched.

import { expect } from 'chai';
import type { Child } from '../../../src/block/child.js';
import type { Qcow2Image } from '../../../src/drivers/formats/qcow2/image.js';
import { Intake } from '../../../src/drivers/formats/qcow2/intake.js';
import { FROM_RUN } from '../../../src/host/host.js';
import { BlockError } from '../../../src/util/errors.js';
import { createAt, findings, makeFixture, openAt } from './bench.js';

const CLUSTER = 65536;

describe('qcow2 intake', () => {
  /** An image that gives so many clusters by each allocation, then has no space. */
  function fake(runs: number[], { apart = 1000, fresh = [] as boolean[] } = {}) {
    const seen = { allocated: 0, released: 0, cursors: 0, givenBack: 0 };
    const ranges: [start: number, end: number, fresh: boolean][] = [];
    let at = 100;
    const allocateRun = async () => {
      const count = runs.shift();
      if (count === undefined) throw new BlockError('no-space', 'no space left');
      at += apart;
      seen.allocated += count;
      return { cluster: at, count };
    };
    const release = (_cluster: number, count: number) => {
      seen.released += count;
    };
    const openRun = (next: number) => {
      seen.cursors++;
      return { next, free: () => seen.cursors-- };
    };
    const giveBack = (start: number, end: number, isFresh: boolean) => {
      seen.givenBack++;
      ranges.push([start, end, isFresh]);
    };
    const image = {
      allocation: { allocateRun, release },
      data: { makeRoom: async () => fresh.shift() ?? true },
      file: { giveBack, usedEnd: 0 },
      geometry: { clusterSize: CLUSTER, clusterBits: 16 },
      host: { openRun },
    };
    return { seen, ranges, intake: new Intake(image as unknown as Qcow2Image) };
  }

  it('frees a run that was too short when there is no space for a longer one', async () => {
    const { seen, intake } = fake([1]);
    const failed = await intake.enter(4 * CLUSTER).catch((error: BlockError) => error.code);
    expect(failed).to.equal('no-space');
    expect(seen).to.deep.equal({ allocated: 1, released: 1, cursors: 0, givenBack: 1 });
  });

  it('frees runs that are too short, each', async () => {
    const { seen, intake } = fake([1, 2, 1]);
    expect(await intake.enter(4 * CLUSTER)).to.equal(null);
    expect(seen).to.deep.equal({ allocated: 4, released: 4, cursors: 0, givenBack: 3 });
  });

  it('keeps a run that another move is in', async () => {
    const { seen, intake } = fake([4]);
    const run = await intake.enter(4 * CLUSTER);
    const failed = await intake.enter(CLUSTER).catch((error: BlockError) => error.code);
    expect(failed).to.equal('no-space');
    expect(seen).to.deep.equal({ allocated: 4, released: 0, cursors: 1, givenBack: 0 });
    intake.leave(run!, 4 * CLUSTER, null);
    expect(seen).to.deep.equal({ allocated: 4, released: 4, cursors: 0, givenBack: 1 });
  });

  it('makes a run longer by space that was used before, and knows what of the rest is fresh', async () => {
    const { seen, ranges, intake } = fake([4, 4], { apart: 4, fresh: [false, true] });
    const first = await intake.enter(4 * CLUSTER);
    const second = await intake.enter(4 * CLUSTER);
    expect(second).to.equal(first);
    intake.leave(first!, 4 * CLUSTER, null);
    intake.leave(second!, 4 * CLUSTER, null);
    expect(seen).to.deep.include({ allocated: 8, released: 8, cursors: 0 });
    const start = first!.start;
    expect(ranges).to.deep.equal([
      [start + 4 * CLUSTER, start + 8 * CLUSTER, true],
      [start, start + 4 * CLUSTER, false],
    ]);
  });
});

describe('qcow2 gaps behind runs', () => {
  const SMALL = 4096;
  const BYTES = 1 << 20;

  /** An image with a gap: a move of so many bytes ended, which took none, after something else was allocated behind its run. */
  async function withGap() {
    const fixture = makeFixture();
    await createAt(fixture, { size: 64 << 20, 'cluster-size': SMALL });
    const node = await openAt(fixture);
    // The file grows with its space allocated.
    node.expectWrites(32 << 20);
    const place = await node.prepareMove([{ offset: 0, length: BYTES }], SMALL);
    expect(place?.parts).to.deep.equal([{ length: BYTES, to: FROM_RUN }]);
    const data = Buffer.alloc(2 * SMALL, 7);
    await node.write(8 << 20, data);
    const allocated = () => fixture.host.used;
    return { ...fixture, node, place: place!, data, allocated };
  }

  const nothing = () => ({
    slices: [{ start: -1, taken: 0 }],
    map: new Uint8Array(BYTES / SMALL).fill(1),
    fault: null,
  });

  it('keep their space while moves are under way, and are punched by the first commit after that', async () => {
    const { node, place, allocated, graph } = await withGap();
    await node.flush();
    const before = allocated();
    place.done(nothing());
    expect(allocated()).to.equal(before);
    await node.flush();
    expect(before - allocated()).to.be.within(8 * BYTES - 16 * SMALL, 8 * BYTES);
    expect(await findings(node)).to.deep.equal([]);
    await graph.closeAll();
  });

  it('are punched around what was allocated in them meanwhile, and nothing is allocated in them while that is under way', async () => {
    const { node, place, data, allocated, graph } = await withGap();
    await node.flush();
    const before = allocated();
    place.done(nothing());
    // Its table and its cluster come to lie in the gap.
    await node.write(16 << 20, data.subarray(0, SMALL));
    let count = 1;
    const { primary } = node as unknown as { primary: Child };
    const discard = primary.discard.bind(primary);
    primary.discard = async (offset, length) => {
      await node.write((16 << 20) + count++ * SMALL, data.subarray(0, SMALL));
      await discard(offset, length);
    };
    await node.flush();
    expect(count).to.be.above(1);
    expect(allocated()).to.be.below(before);
    const content = new Uint8Array(count * SMALL);
    await node.read(16 << 20, content);
    expect(content.every((byte) => byte === 7)).to.equal(true);
    expect(await findings(node)).to.deep.equal([]);
    await graph.closeAll();
  });
});
