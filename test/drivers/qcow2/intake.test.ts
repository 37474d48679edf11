// Room for data that the host's copy step writes: where there is none, nothing stays allocated.

import { expect } from 'chai';
import type { Qcow2Image } from '../../../src/drivers/formats/qcow2/image.js';
import { Intake } from '../../../src/drivers/formats/qcow2/intake.js';
import { BlockError } from '../../../src/util/errors.js';

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
      file: { giveBack },
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
