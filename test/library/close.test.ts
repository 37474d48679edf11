// Closing an image that somebody works with: it is refused by name, and once all have ended nothing stays open or locked. On the simulated host.

import { expect } from 'chai';
import { createSimHost, type SimHost } from '../../src/host/sim/index.js';
import type { Image } from '../../src/library/image.js';
import type { Job } from '../../src/library/job.js';
import { v86Disk } from '../../src/library/v86.js';
import { Workspace } from '../../src/library/workspace.js';
import { failureOf } from '../drivers/support.js';

const SIZE = 4 << 20;

interface Bench {
  host: SimHost;
  workspace: Workspace;
  image: Image;
}

/** Each starts something that works with the image, and says how it is ended. */
const USERS: readonly (readonly [name: string, begin: (bench: Bench) => Promise<() => Promise<unknown>>])[] = [
  ['a stream job', ({ workspace, image }) => job(workspace.stream(image, { speed: 65536 }))],
  ['a commit job', ({ workspace, image }) => job(workspace.commit(image, { speed: 65536 }))],
  ['a mirror job', ({ workspace, image }) => job(workspace.mirror(image, '/target', { sync: 'full', speed: 65536 }))],
  ['a backup job', ({ workspace, image }) => job(workspace.backup(image, '/target', { sync: 'full', speed: 65536 }))],
  [
    'a service',
    async ({ workspace, image }) => {
      const service = await workspace.serve(image, { path: '/socket' });
      return () => service.close();
    },
  ],
  [
    "an emulator's disk",
    async ({ image }) => {
      const disk = v86Disk(image);
      return () => disk.close();
    },
  ],
  [
    'a snapshot',
    async ({ workspace, image }) => {
      const made = workspace.snapshot(image, '/overlay');
      return () => made;
    },
  ],
];

async function job(starting: Promise<Job>): Promise<() => Promise<unknown>> {
  const handle = await starting;
  return async () => {
    handle.cancel(true);
    await handle.done.catch(() => undefined);
  };
}

async function bench(work: (bench: Bench) => Promise<void>): Promise<void> {
  const host = createSimHost({});
  await host.run(async () => {
    const workspace = new Workspace(host);
    await workspace.create('/base', { driver: 'qcow2', size: SIZE });
    const base = await workspace.open('/base');
    await base.write(0, new Uint8Array(SIZE).fill(1));
    await base.close();
    await workspace.create('/target', { driver: 'qcow2', size: SIZE });
    await workspace.create('/a', { driver: 'qcow2', size: SIZE, 'backing-file': '/base', 'backing-fmt': 'qcow2' });
    const image = await workspace.open('/a');
    await image.write(0, new Uint8Array(1 << 20).fill(2));
    await work({ host, workspace, image });
    await workspace.close();
  });
}

/** Opened for writing by somebody else: only where no lock is left. */
async function expectFree(host: SimHost, ...names: string[]): Promise<void> {
  const other = new Workspace(host);
  for (const name of names) {
    const image = await other.open(name, { backing: false });
    await image.write(0, new Uint8Array(512));
    await image.close();
  }
}

describe('closing an image', () => {
  for (const [name, begin] of USERS) {
    it(`is refused while it is used by ${name}, and leaves nothing locked afterwards`, () =>
      bench(async (all) => {
        const { host, image } = all;
        const end = await begin(all);
        const error = await failureOf(image.close());
        expect(error.code).to.equal('busy');
        expect(error.message).to.equal(`'/a' cannot be closed: ${name} uses it`);
        // It was not closed a little.
        await image.read(0, new Uint8Array(512));
        await end();
        await image.close();
        await expectFree(host, '/a', '/base', '/target');
      }));
  }

  it('twice at once waits for the same end, and a third time changes nothing', () =>
    bench(async ({ host, image }) => {
      let ended = 0;
      const done = () => ended++;
      const [first, second] = [image.close().then(done), image.close().then(done)];
      await second;
      await expectFree(host, '/a');
      await first;
      await image.close();
      expect(ended).to.equal(2);
      expect((await failureOf(image.read(0, new Uint8Array(512)))).code).to.equal('closed');
    }));

  it('that has begun takes no job, service or disk any more', () =>
    bench(async ({ workspace, image }) => {
      const closing = image.close();
      expect((await failureOf(workspace.stream(image))).code).to.equal('closed');
      expect((await failureOf(workspace.serve(image, { path: '/socket' }))).code).to.equal('closed');
      expect(() => v86Disk(image))
        .to.throw()
        .with.property('code', 'closed');
      await closing;
    }));

  it('is possible where a job could not begin', () =>
    bench(async ({ host, workspace, image }) => {
      await failureOf(workspace.mirror(image, '/nowhere', { sync: 'full' }));
      await failureOf(workspace.stream(image, { base: '/other' }));
      await failureOf(workspace.backups([{ image, target: '/a' }]));
      await image.close();
      await expectFree(host, '/a', '/base');
    }));

  it('is possible after the job has pivoted, and closes both sides', () =>
    bench(async ({ host, workspace, image }) => {
      const handle = await workspace.mirror(image, '/target', { sync: 'full' });
      await handle.ready();
      await handle.complete();
      await handle.done;
      await image.close();
      await expectFree(host, '/a', '/target');
    }));

  for (const [name, begin] of Object.entries<(bench: Bench) => Promise<unknown>>({
    'an image': ({ workspace }) => workspace.open('/other'),
    'a job': async ({ workspace, image }) => (await workspace.mirror(image, '/target', { speed: 65536 })).done,
    'a job with a target that is made': async ({ workspace, image }) =>
      (await workspace.backup(image, '/new', { create: { driver: 'qcow2' }, speed: 65536 })).done,
    'a service': ({ workspace, image }) => workspace.serve(image, { path: '/socket' }),
    'a snapshot': ({ workspace, image }) => workspace.snapshot(image, '/overlay'),
  })) {
    it(`of the workspace waits for ${name} that is being begun, and leaves nothing open or locked`, () =>
      bench(async (bench) => {
        const { host, workspace } = bench;
        await new Workspace(host).create('/other', { driver: 'qcow2', size: SIZE });
        const closes = host.close.bind(host);
        // Others look at the host's files afterwards.
        host.close = async () => undefined;
        let over = false;
        const begun = Promise.allSettled([begin(bench)]).finally(() => {
          over = true;
        });
        await workspace.close();
        expect(over).to.equal(true);
        expect((await failureOf(workspace.open('/a'))).code).to.equal('closed');
        const [end] = await begun;
        if (end.status === 'rejected') expect(['closed', 'cancelled']).to.include(end.reason.code);
        await expectFree(host, '/a', '/base', '/target', '/other');
        host.close = closes;
      }));
  }

  for (const kind of ['mirror', 'backup'] as const) {
    it(`of the workspace cancels a ${kind}, which is no unhandled rejection, and leaves a clean target`, () =>
      bench(async ({ host, workspace, image }) => {
        const create = { driver: 'qcow2' } as const;
        const handle = await workspace[kind](image, '/new', { create, speed: 65536 });
        let over = false;
        const done = failureOf(handle.done).finally(() => {
          over = true;
        });
        host.close = async () => undefined;
        await workspace.close();
        expect(over).to.equal(true);
        expect((await done).code).to.equal('cancelled');
        const other = new Workspace(host);
        expect(await other.check('/new')).to.include({ corruptions: 0, leaks: 0 });
        for (const call of [
          () => workspace.info('/new'),
          () => workspace.addObject('secret,id=s,data=x'),
          () => workspace.backups([]),
        ]) {
          expect((await failureOf(call())).message).to.equal('the workspace is closed');
        }
      }));
  }

  it('comes too late after the workspace was closed, and is no failure', () =>
    bench(async ({ workspace, image }) => {
      await workspace.close();
      await image.close();
    }));
});
