// The limit of an image is changed under a guest that writes as fast as it can: the guest's own count of synced bytes follows.

import { expect } from 'chai';
import type { Worker } from './guest/agent.js';
import { Lab, requireGuest } from './guest/lab.js';
import { BLOCK, placeOf } from './guest/records.js';

const LIMIT = 128 * 1024;
/** What was under way when the measurement began: a record and a batch of the longest ones; and the bucket's burst. */
const SLACK = 9 * 64 * 1024 + LIMIT;
const WINDOW_MS = 3000;

describe('limits under a guest', function () {
  this.timeout(300_000);
  let lab: Lab;

  before(function () {
    requireGuest(this);
  });
  afterEach(async () => {
    await lab?.close();
  });

  function bytesOf({ seed, blocks }: Worker, from: number, to: number): number {
    let sum = 0;
    for (let n = from + 1; n <= to; n++) sum += placeOf(seed, n, blocks).count * BLOCK;
    return sum;
  }

  it('slow it down, let it go, and slow it down again', async () => {
    lab = await Lab.create();
    await lab.serveBoth();
    const machine = await lab.work();
    const { single, batches } = lab.workers;

    /** Bytes that the guest has synced on the data disk in a while, and what the limit would allow for that time. */
    async function measure(): Promise<{ synced: number; allowed: number }> {
      const begin = performance.now();
      const from = [single, batches].map((worker) => worker.acknowledged);
      await new Promise((resolve) => setTimeout(resolve, WINDOW_MS));
      const synced = [single, batches].reduce(
        (sum, worker, i) => sum + bytesOf(worker, from[i], worker.acknowledged),
        0,
      );
      return { synced, allowed: (LIMIT * (performance.now() - begin)) / 1000 + SLACK };
    }

    for (let round = 0; round < 2; round++) {
      lab.images.data.limit({ 'bps-write': LIMIT });
      const slow = await measure();
      expect(slow.synced).to.be.below(slow.allowed);
      lab.images.data.limit({});
      // However slow this machine is: more than the limit allows comes through some time.
      for (;;) {
        const fast = await measure();
        if (fast.synced > fast.allowed) break;
      }
    }
    await lab.finish(machine);
  });
});
