// Random guests against the model: plain runs, failing disks, power loss. A failure names its seed.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { SimPowerLoss } from '../../../src/host/sim/index.js';
import type { BlockError } from '../../../src/util/errors.js';
import { seedsOf, timeLimit } from '../../support/sample.js';
import { ModelRun, TOP } from './model.js';

const SEEDS = seedsOf({ fixed: 30, daily: 10, soak: 2000 });
const SOME = SEEDS.filter((_, i) => i % 4 === 0);

async function expectClean(run: ModelRun, leaksAllowed: boolean): Promise<void> {
  const { errors, leaks } = await run.check();
  expect(errors, `seed ${run.seed}`).to.deep.equal([]);
  if (!leaksAllowed) expect(leaks, `leaks, seed ${run.seed}`).to.equal(0);
}

describe('qcow2 against a model', function () {
  this.timeout(timeLimit(120_000));

  it('reads what was written, and leaks nothing', async () => {
    for (const seed of SEEDS) {
      const run = new ModelRun(seed);
      await run.prepare();
      await run.host.run(async () => {
        await run.work(80);
        await run.verify(false);
        await run.graph.closeAll();
        await run.open(true);
        await run.verify(false);
        await expectClean(run, false);
        await run.graph.closeAll();
      });
    }
  });

  it('leaves images that qemu-img finds no fault with', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'diskwright-model-'));
    const path = join(folder, 'image.qcow2');
    try {
      for (const seed of SOME) {
        const run = new ModelRun(seed);
        await run.prepare();
        await run.host.run(async () => {
          await run.work(80);
          await run.graph.closeAll();
        });
        writeFileSync(path, run.host.readFile(TOP));
        const image = { driver: 'qcow2', file: { driver: 'file', filename: path }, backing: null };
        execFileSync('qemu-img', ['check', '-q', `json:${JSON.stringify(image)}`]);
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  for (const errno of ['EIO', 'ENOSPC']) {
    it(`stays consistent on a disk that answers ${errno}`, async () => {
      for (const seed of SEEDS) {
        const run = new ModelRun(seed);
        const operations =
          errno === 'EIO' ? (['read', 'write', 'flush', 'truncate'] as const) : (['write', 'truncate'] as const);
        const probability = run.random.pick([0.01, 0.05, 0.2]);
        await run.prepare({ rules: [{ operations, errno, probability, path: TOP }] });
        await run.host.run(async () => {
          await run.work(80);
          run.host.setFaults({});
          await run.verify(false);
          // After a failed flush the file admits no later success: what was not durable by then may be lost, as after power loss.
          let lost = false;
          await run.graph.closeAll().catch((error: BlockError) => {
            expect(error.code, `seed ${seed}`).to.equal('io');
            lost = true;
          });
          await run.open(true);
          await run.verify(lost);
          await expectClean(run, true);
          await run.graph.closeAll();
        });
      }
    });
  }

  it('keeps after power loss what a flush acknowledged, with leaks at worst', async () => {
    for (const seed of SEEDS) {
      const run = new ModelRun(seed);
      await run.losePower();
      await run.host.run(async () => {
        await run.open(true);
        await expectClean(run, true);
        await run.verify(true);
        await run.graph.closeAll();
      });
    }
  });

  it('goes on after power loss', async () => {
    for (const seed of SEEDS) {
      const run = new ModelRun(seed);
      await run.prepare({ powerLossAt: run.random.between(10, 120) });
      try {
        await run.host.run(() => run.work(150));
      } catch (error) {
        if (!(error instanceof SimPowerLoss)) throw error;
      }
      run.host = run.host.crash();
      await run.host.run(async () => {
        await run.open(false);
        await run.verify(true);
        const zeroes = new Uint8Array(run.shape.size);
        await run.node.write(0, zeroes);
        await run.graph.closeAll();
        await run.open(true);
        const content = new Uint8Array(run.shape.size).fill(1);
        await run.node.read(0, content);
        expect(
          content.every((byte) => byte === 0),
          `seed ${seed}`,
        ).to.equal(true);
        await expectClean(run, true);
        await run.graph.closeAll();
      });
    }
  });
});
