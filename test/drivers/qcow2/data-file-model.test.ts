// Random guests against the model, on images with an external data file: two files, whose flushes are independent. A failure names its seed.

import { expect } from 'chai';
import { ExternalData } from '../../../src/drivers/formats/qcow2/external-data.js';
import { Random } from '../../../src/host/sim/index.js';
import type { BlockError } from '../../../src/util/errors.js';
import { seedsOf, timeLimit } from '../../support/sample.js';
import { takeUnexpected } from '../../support/unexpected.js';
import { ModelRun, randomShape, withDataFile } from './model.js';

const SEEDS = seedsOf({ fixed: 30, daily: 10, soak: 2000 });
/** Seeds within which a planted fault is found. */
const PLANTED_SEEDS = 200;

function runOf(seed: number): ModelRun {
  const random = new Random(seed, 78);
  return new ModelRun(seed, withDataFile(randomShape(random), random));
}

async function expectSound(run: ModelRun): Promise<void> {
  const { errors } = await run.check();
  expect(errors, `seed ${run.seed}`).to.deep.equal([]);
}

/** A run up to a power loss, and what is there afterwards: throws where that is not what was promised. */
async function losePower(run: ModelRun): Promise<void> {
  await run.losePower();
  await run.host.run(async () => {
    await run.open(true);
    await expectSound(run);
    await run.verify(true);
    await run.graph.closeAll();
    if (!run.shape.encrypted) expect(run.verifyFiles(), `seed ${run.seed}`).to.deep.equal([]);
  });
}

describe('qcow2 with an external data file against a model', function () {
  this.timeout(timeLimit(120_000));

  it('reads what was written, leaks nothing, and keeps a raw data file as the disk is', async () => {
    for (const seed of SEEDS) {
      const run = runOf(seed);
      await run.prepare();
      await run.host.run(async () => {
        await run.work(80);
        await run.verify(false);
        await run.graph.closeAll();
        if (run.shape.dataFile === 'raw' && !run.shape.encrypted) run.verifyRaw();
        await run.open(true);
        await run.verify(false);
        await expectSound(run);
        expect((await run.check()).leaks, `leaks, seed ${seed}`).to.equal(0);
        await run.graph.closeAll();
        if (!run.shape.encrypted) expect(run.verifyFiles(), `seed ${seed}`).to.deep.equal([]);
      });
    }
  });

  for (const errno of ['EIO', 'ENOSPC']) {
    it(`stays consistent where either file answers ${errno}`, async () => {
      for (const seed of SEEDS) {
        const run = runOf(seed);
        const operations =
          errno === 'EIO' ? (['read', 'write', 'flush', 'truncate'] as const) : (['write', 'truncate'] as const);
        await run.prepare({ rules: [{ operations, errno, probability: run.random.pick([0.01, 0.05, 0.2]) }] });
        await run.host.run(async () => {
          await run.work(80);
          run.host.setFaults({});
          await run.verify(false);
          let lost = false;
          await run.graph.closeAll().catch((error: BlockError) => {
            expect(error.code, `seed ${seed}`).to.equal('io');
            lost = true;
          });
          await run.open(true);
          await run.verify(lost);
          await expectSound(run);
          await run.graph.closeAll();
        });
      }
    });
  }

  it('keeps after power loss what a flush acknowledged', async () => {
    for (const seed of SEEDS) await losePower(runOf(seed));
  });

  it('would show tables that are flushed before the data file', async () => {
    const { flush } = ExternalData.prototype;
    // The flush comes, but nobody waits for it.
    ExternalData.prototype.flush = function () {
      void flush.call(this)?.catch(() => undefined);
      return undefined;
    };
    try {
      for (let seed = 1; seed <= PLANTED_SEEDS; seed++) {
        const found = await losePower(runOf(seed)).then(
          () => false,
          (error: Error) => /has version/.test(error.message),
        );
        if (found) return;
      }
      expect.fail(`not found within ${PLANTED_SEEDS} seeds`);
    } finally {
      ExternalData.prototype.flush = flush;
      takeUnexpected();
    }
  });
});
