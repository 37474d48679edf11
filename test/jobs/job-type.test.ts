// A job type is one file and one line: a throw-away one, made here, does everything that the built-in ones do.

import { expect } from 'chai';
import type { JobContext, JobType } from '../../src/jobs/driver.js';
import type { Job } from '../../src/jobs/job.js';
import { type CommonArguments, type JobTypeDefinition, nodeOf } from '../../src/jobs/job-type.js';
import { findJobType, registerJobType } from '../../src/jobs/registry.js';
import { startJob } from '../../src/jobs/start.js';
import { BlockError } from '../../src/util/errors.js';
import { failureOf } from '../drivers/support.js';
import { MiB, World } from './world.js';

interface ScrubArguments extends CommonArguments {
  /** Bytes that are read together. */
  chunk?: number;
}

/** Reads all of a node, and keeps nothing. */
const scrubJob: JobTypeDefinition<ScrubArguments> = {
  name: 'scrub' as JobType,
  check({ chunk = MiB }) {
    if (chunk < 512) throw new BlockError('invalid-argument', 'chunk is too small');
  },
  async make(env, { device, chunk = MiB }) {
    const node = nodeOf(env, device);
    const driver = {
      type: 'scrub' as JobType,
      isBlockJob: false,
      begin: async (_user: Job) => node.checkBlockers(),
      async run(ctx: JobContext) {
        ctx.progress.setTotal(node.length);
        for (let at = 0; at < node.length; at += chunk) {
          const length = Math.min(chunk, node.length - at);
          await ctx.throttle(length);
          await node.read(at, Buffer.alloc(length));
          ctx.progress.advance(length);
        }
      },
    };
    return { driver, scope: { from: [node], target: node }, sizeUnknown: true };
  },
};

describe('job types', () => {
  it('are known by name', () => {
    for (const name of ['backup', 'commit', 'mirror', 'stream']) expect(findJobType(name).name).to.equal(name);
    expect(() => findJobType('defragment'))
      .to.throw(BlockError)
      .with.property('code', 'invalid-argument');
  });

  it('take one file and one line', async () => {
    const unregister = registerJobType(scrubJob);
    const world = new World();
    await world.host.run(async () => {
      world.chain(1, 4 * MiB);
      const type = findJobType<ScrubArguments>('scrub');
      const job = await startJob(world.env, type, { device: 'layer0', chunk: 65536, 'job-id': 'night' });
      expect(world.manager.query()[0]).to.deep.include({ id: 'night', type: 'scrub', status: 'running' });
      expect(world.manager.queryBlock()).to.deep.equal([]);
      await job.done;
      // BLOCK_JOB_COMPLETED and its like are those of block jobs.
      expect(new Set(job.log.map(({ event }) => event))).to.deep.equal(new Set(['JOB_STATUS_CHANGE']));
      expect(job.progress.current).to.equal(4 * MiB);
      expect((await failureOf(startJob(world.env, type, { device: 'layer0', chunk: 1 }))).code).to.equal(
        'invalid-argument',
      );
      expect((await failureOf(startJob(world.env, type, { device: 'nobody' }))).code).to.equal('not-found');
      expect(world.manager.list()).to.deep.equal([]);
    });
    unregister();
    expect(() => findJobType('scrub'))
      .to.throw(BlockError)
      .with.property('code', 'invalid-argument');
  });
});
