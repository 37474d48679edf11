// A job as a program has it in hand. On the simulated host.

import { inspect } from 'node:util';
import { expect } from 'chai';
import { createSimHost, type SimHost } from '../../src/host/sim/index.js';
import type { JobEvent } from '../../src/jobs/events.js';
import type { Image } from '../../src/library/image.js';
import type { Job } from '../../src/library/job.js';
import { Workspace } from '../../src/library/workspace.js';
import { failureOf } from '../drivers/support.js';
import { takeUnexpected } from '../support/unexpected.js';

const MiB = 1 << 20;

interface Bench {
  host: SimHost;
  workspace: Workspace;
  image: Image;
}

/** An image of 4 MiB of data, in a workspace that is closed at the end. */
function bench(work: (bench: Bench) => Promise<void>): () => Promise<void> {
  return async () => {
    const host = createSimHost({});
    await host.run(async () => {
      const workspace = new Workspace(host);
      await workspace.create('/a', { driver: 'qcow2', size: 4 * MiB });
      const image = await workspace.open('/a');
      await image.write(0, new Uint8Array(4 * MiB).fill(1));
      await work({ host, workspace, image });
      await workspace.close();
    });
  };
}

const create = { driver: 'qcow2' } as const;

function statuses(events: readonly JobEvent[]): string[] {
  return events.flatMap((event) => (event.event === 'JOB_STATUS_CHANGE' ? [event.data.status] : []));
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Resolves when the job is over, without asking for its outcome. */
async function over(job: Job): Promise<void> {
  await new Promise<void>((resolve) => {
    job.on('JOB_STATUS_CHANGE', ({ status }) => {
      if (status === 'null') resolve();
    });
  });
}

/** The rejections that nobody has handled while `work` ran. */
async function unhandledOf(work: () => Promise<void>): Promise<unknown[]> {
  const unhandled: unknown[] = [];
  const mocha = process.listeners('unhandledRejection');
  process.removeAllListeners('unhandledRejection');
  process.on('unhandledRejection', (error) => unhandled.push(error));
  try {
    await work();
    return unhandled;
  } finally {
    process.removeAllListeners('unhandledRejection');
    for (const listener of mocha) process.on('unhandledRejection', listener);
  }
}

describe('a job of the library', () => {
  it(
    'is never ready where its type is not',
    bench(async ({ workspace, image }) => {
      const job = await workspace.backup(image, '/b', { create });
      const { code, message } = await failureOf(job.ready());
      expect({ code, message }).to.deep.equal({
        code: 'bad-state',
        message: `job '${job.id}' ended without becoming ready`,
      });
      await job.done;
    }),
  );

  it(
    'has events from the first one on, in order, to the last one',
    bench(async ({ workspace, image }) => {
      const job = await workspace.backup(image, '/t', { create });
      const events: JobEvent[] = [];
      for await (const event of job.events()) events.push(event);
      expect(statuses(events)).to.deep.equal(['created', 'running', 'waiting', 'pending', 'concluded', 'null']);
      expect(events.map(({ event }) => event)).to.include('BLOCK_JOB_COMPLETED');
      // Whoever comes when it is over has them too.
      const late: JobEvent[] = [];
      for await (const event of job.events()) late.push(event);
      expect(late).to.deep.equal(events);
    }),
  );

  it(
    'ends its events where it waits to be dismissed',
    bench(async ({ workspace, image }) => {
      const job = await workspace.backup(image, '/t', { create, autoDismiss: false });
      const events: JobEvent[] = [];
      for await (const event of job.events()) events.push(event);
      expect(statuses(events).at(-1)).to.equal('concluded');
      job.dismiss();
      expect(job.status).to.equal('null');
    }),
  );

  it(
    'tells once what was asked for once',
    bench(async ({ workspace, image }) => {
      const job = await workspace.mirror(image, '/t', { create });
      const seen: string[] = [];
      job.once('JOB_STATUS_CHANGE', ({ status }) => seen.push(status));
      job.once('BLOCK_JOB_READY', () => seen.push('never'))();
      await job.ready();
      await job.complete();
      await job.done;
      expect(seen).to.have.lengthOf(1).and.to.not.include('never');
    }),
  );

  it(
    'tells how far it is, up to the end',
    bench(async ({ workspace, image }) => {
      const seen: [number, number][] = [];
      const job = await workspace.backup(image, '/t', {
        create,
        onProgress: (current, total) => seen.push([current, total]),
      });
      await job.done;
      expect(seen.at(-1)).to.deep.equal([4 * MiB, 4 * MiB]);
      expect(seen.map(([current]) => current)).to.deep.equal(
        [...seen.map(([current]) => current)].sort((a, b) => a - b),
      );
    }),
  );

  it(
    'is cancelled by a signal, and never starts where that has come already',
    bench(async ({ workspace, image }) => {
      const abort = new AbortController();
      const job = await workspace.backup(image, '/t', { create, speed: 1000, signal: abort.signal });
      const reason = new Error('the user closed the window');
      abort.abort(reason);
      const error = await failureOf(job.done);
      expect([error.code, error.message, error.cause]).to.deep.equal(['cancelled', 'Operation canceled', reason]);
      expect(job.error).to.equal(error);
      const never = workspace.backup(image, '/u', { create, signal: abort.signal });
      expect((await failureOf(never)).code).to.equal('cancelled');
      expect((await failureOf(workspace.open('/u'))).code).to.equal('not-found');
    }),
  );

  for (const [what, call] of Object.entries<(bench: Bench, signal: AbortSignal) => Promise<unknown>>({
    'a job': ({ workspace, image }, signal) => workspace.mirror(image, '/t', { create, signal }),
    'a conversion': ({ workspace }, signal) => workspace.convert('/a', '/t', { create, signal }),
    'a comparison': ({ workspace }, signal) => workspace.compare('/a', '/a', { signal }),
  })) {
    it(
      `${what} that is cancelled from the first says it in the same words, with the reason`,
      bench(async (bench) => {
        const reason = new Error('no longer wanted');
        if (what !== 'a job') await bench.image.close();
        const error = await failureOf(call(bench, AbortSignal.abort(reason)));
        expect([error.code, error.message, error.cause]).to.deep.equal(['cancelled', 'Operation canceled', reason]);
      }),
    );
  }

  it(
    'is no promise',
    bench(async ({ workspace, image }) => {
      const job = await workspace.backup(image, '/t', { create });
      expect(job).to.not.have.property('then');
      await job.done;
    }),
  );

  it(
    'shows its id, type, status and progress',
    bench(async ({ workspace, image }) => {
      const job = await workspace.backup(image, '/t', { create, jobId: 'nightly' });
      expect(inspect(job)).to.match(/^Job \{\s+id: 'nightly',\s+type: 'backup',\s+status: 'running',\s+progress: \{/);
      await job.done;
    }),
  );

  it(
    'is cancelled at the end of its block, and waited for',
    bench(async ({ workspace, image }) => {
      const job = await workspace.backup(image, '/t', { create, speed: 1000 });
      await job[Symbol.asyncDispose]();
      expect(job.status).to.equal('null');
      expect(image.users).to.deep.equal([]);
      await job[Symbol.asyncDispose]();
    }),
  );

  it(
    'whose failure `ready` or `events` tells is no unhandled rejection beside',
    bench(async ({ host, workspace, image }) => {
      const unhandled = await unhandledOf(async () => {
        for (const wait of [
          (job: Job) => failureOf(job.ready().then(() => job.done)),
          async (job: Job) => {
            for await (const _ of job.events());
          },
        ]) {
          await workspace.create('/u', { driver: 'qcow2', size: 4 * MiB });
          host.setFaults({ rules: [{ operations: ['write'], path: '/u' }] });
          await wait(await workspace.mirror(image, '/u'));
          await turn();
          host.setFaults({});
        }
      });
      expect(unhandled).to.deep.equal([]);
    }),
  );

  it(
    'that is cancelled leaves no unhandled rejection of a `ready` that nobody awaits',
    bench(async ({ workspace, image }) => {
      const unhandled = await unhandledOf(async () => {
        const job = await workspace.mirror(image, '/t', { create, speed: 1000 });
        void job.ready();
        job.cancel(true);
        await failureOf(job.done);
        await turn();
      });
      expect(unhandled).to.deep.equal([]);
    }),
  );

  for (const [title, wait, told] of [
    ['once where `done` has told it', (job: Job) => job.done, true],
    ['once where `ready` has told it', (job: Job) => job.ready(), true],
    ['where nobody has waited for it', async (job: Job) => over(job), false],
  ] as const) {
    it(
      `whose block ends reports a failure ${title}`,
      bench(async ({ host, workspace, image }) => {
        await workspace.create('/u', { driver: 'qcow2', size: 4 * MiB });
        host.setFaults({ rules: [{ operations: ['write'], path: '/u' }] });
        const job = await workspace.mirror(image, '/u');
        const waited = await Promise.allSettled([wait(job)]);
        const disposed = await Promise.allSettled([job[Symbol.asyncDispose]()]);
        host.setFaults({});
        expect(waited[0].status).to.equal(told ? 'rejected' : 'fulfilled');
        expect(disposed[0].status).to.equal(told ? 'fulfilled' : 'rejected');
      }),
    );
  }

  for (const [what, call] of Object.entries<(workspace: Workspace, onProgress: () => void) => Promise<unknown>>({
    'a conversion': (workspace, onProgress) => workspace.convert('/a', '/t', { create, onProgress }),
    'a comparison': (workspace, onProgress) => workspace.compare('/a', '/a', { onProgress }),
  })) {
    for (const [how, fail] of Object.entries<() => void>({
      throws: () => {
        throw new Error('of the program');
      },
      rejects: async () => {
        throw new Error('of the program');
      },
    })) {
      it(
        `${what} goes on where its \`onProgress\` ${how}, which is reported`,
        bench(async ({ workspace, image }) => {
          await image.close();
          expect(await unhandledOf(() => call(workspace, fail).then(() => turn()))).to.deep.equal([]);
          const [first] = takeUnexpected();
          expect(first).to.nested.include({ where: 'progress listener', 'error.message': 'of the program' });
        }),
      );
    }
  }

  it(
    'tells a rejection of `onProgress`, which is no unhandled one',
    bench(async ({ workspace, image }) => {
      const unhandled = await unhandledOf(async () => {
        const onProgress = async (): Promise<void> => {
          throw new Error('of the program');
        };
        await (await workspace.backup(image, '/t', { create, onProgress })).done;
        await turn();
      });
      expect(unhandled).to.deep.equal([]);
      // It is told as one that throws is.
      expect(takeUnexpected()[0].where).to.equal('progress listener');
    }),
  );

  it(
    'that fails is an unhandled rejection where nobody waits for it; one that is cancelled is none',
    bench(async ({ host, workspace, image }) => {
      const unhandled = await unhandledOf(async () => {
        const cancelled = await workspace.backup(image, '/t', { create, speed: 1000 });
        cancelled.cancel(true);
        while (cancelled.status !== 'null') await new Promise((resolve) => setImmediate(resolve));
        await workspace.create('/u', { driver: 'qcow2', size: 4 * MiB });
        host.setFaults({ rules: [{ operations: ['write'], path: '/u' }] });
        const job = await workspace.backup(image, '/u');
        while (job.status !== 'null') await new Promise((resolve) => setImmediate(resolve));
        await new Promise((resolve) => setImmediate(resolve));
        host.setFaults({});
      });
      expect(unhandled).to.have.lengthOf(1);
      expect(unhandled[0]).to.have.property('code', 'io');
    }),
  );
});
