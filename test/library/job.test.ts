// A job as a program has it in hand. On the simulated host.

import { inspect } from 'node:util';
import { expect } from 'chai';
import { createSimHost, type SimHost } from '../../src/host/sim/index.js';
import type { JobEvent } from '../../src/jobs/events.js';
import type { Image } from '../../src/library/image.js';
import { Workspace } from '../../src/library/workspace.js';
import { failureOf } from '../drivers/support.js';

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

describe('a job of the library', () => {
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
      abort.abort();
      expect((await failureOf(job.done)).code).to.equal('cancelled');
      expect(job.error?.code).to.equal('cancelled');
      const never = workspace.backup(image, '/u', { create, signal: abort.signal });
      expect((await failureOf(never)).code).to.equal('cancelled');
      expect((await failureOf(workspace.open('/u'))).code).to.equal('not-found');
    }),
  );

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
    'that fails is an unhandled rejection where nobody waits for it; one that is cancelled is none',
    bench(async ({ host, workspace, image }) => {
      const unhandled: unknown[] = [];
      const mocha = process.listeners('unhandledRejection');
      process.removeAllListeners('unhandledRejection');
      process.on('unhandledRejection', (error) => unhandled.push(error));
      try {
        const cancelled = await workspace.backup(image, '/t', { create, speed: 1000 });
        cancelled.cancel(true);
        while (cancelled.status !== 'null') await new Promise((resolve) => setImmediate(resolve));
        await workspace.create('/u', { driver: 'qcow2', size: 4 * MiB });
        host.setFaults({ rules: [{ operations: ['write'], path: '/u' }] });
        const job = await workspace.backup(image, '/u');
        while (job.status !== 'null') await new Promise((resolve) => setImmediate(resolve));
        await new Promise((resolve) => setImmediate(resolve));
        host.setFaults({});
        expect(unhandled).to.have.lengthOf(1);
        expect(unhandled[0]).to.have.property('code', 'io');
      } finally {
        process.removeAllListeners('unhandledRejection');
        for (const listener of mocha) process.on('unhandledRejection', listener);
      }
    }),
  );
});
