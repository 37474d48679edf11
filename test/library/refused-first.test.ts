// An existing file that a call is to replace is as it was where the call is refused. On the simulated host.

import { expect } from 'chai';
import { createSimHost, type SimHost } from '../../src/host/sim/index.js';
import type { Image } from '../../src/library/image.js';
import type { BackupRequest } from '../../src/library/options.js';
import { Workspace } from '../../src/library/workspace.js';
import { failureOf } from '../drivers/support.js';

const MiB = 1 << 20;

interface Bench {
  host: SimHost;
  workspace: Workspace;
  /** An open image, and another one. */
  a: Image;
  b: Image;
}

/** Runs `work` beside `/old` and `/older`, whose content is to be there afterwards. */
function bench(work: (bench: Bench) => Promise<void>): () => Promise<void> {
  return async () => {
    const host = createSimHost({});
    await host.run(async () => {
      const workspace = new Workspace(host);
      for (const name of ['/a', '/b', '/old', '/older']) {
        await workspace.create(name, { driver: 'qcow2', size: MiB });
        const image = await workspace.open(name);
        await image.write(0, Buffer.from(`content of ${name}`));
        await image.close();
      }
      const [a, b] = [await workspace.open('/a'), await workspace.open('/b')];
      await work({ host, workspace, a, b });
      for (const name of ['/old', '/older']) {
        const image = await workspace.open(name, { readOnly: true });
        const text = `content of ${name}`;
        expect((await image.read(0, text.length)).toString()).to.equal(text);
        await image.close();
      }
      await workspace.close();
    });
  };
}

const create = { driver: 'qcow2' } as const;

describe('a call of the library that is refused leaves an existing target as it was', () => {
  for (const kind of ['mirror', 'backup'] as const) {
    const wrong = async (call: Promise<unknown>, code: string): Promise<void> => {
      expect((await failureOf(call)).code).to.equal(code);
    };

    it(
      `where a ${kind}'s job id is in use`,
      bench(async ({ workspace, a, b }) => {
        const job = await workspace.backup(a, '/t', { create, jobId: 'taken', speed: 1 });
        await wrong(workspace[kind](b, '/old', { create, jobId: 'taken' }), 'exists');
        job.cancel(true);
        await failureOf(job.done);
      }),
    );

    it(
      `where a ${kind} has the job id of another that is being started`,
      bench(async ({ workspace, a, b }) => {
        const first = workspace.backup(a, '/t', { create, jobId: 'same', speed: 1 });
        await wrong(workspace[kind](b, '/old', { create, jobId: 'same' }), 'exists');
        const job = await first;
        job.cancel(true);
        await failureOf(job.done);
        expect((await workspace.backup(b, '/u', { create, jobId: 'same' })).id).to.equal('same');
      }),
    );

    it(
      `where another job is being started on the source of a ${kind}`,
      bench(async ({ workspace, a }) => {
        const first = workspace.backup(a, '/t', { create, speed: 1 });
        await wrong(workspace[kind](a, '/old', { create }), 'busy');
        const job = await first;
        job.cancel(true);
        await failureOf(job.done);
      }),
    );

    it(
      `where a snapshot or a stream job would come between the target and the start of a ${kind}`,
      bench(async ({ workspace, a }) => {
        const first = workspace[kind](a, '/old', { create, speed: 1 });
        await wrong(workspace.snapshot(a, '/older'), 'busy');
        await wrong(workspace.stream(a), 'busy');
        const job = await first;
        job.cancel(true);
        await failureOf(job.done);
        await workspace.create('/old', { driver: 'qcow2', size: MiB });
        const again = await workspace.open('/old');
        await again.write(0, Buffer.from('content of /old'));
        await again.close();
      }),
    );

    it(
      `where a job works on the source of a ${kind}`,
      bench(async ({ workspace, a }) => {
        const job = await workspace.backup(a, '/t', { create, speed: 1 });
        await wrong(workspace[kind](a, '/old', { create }), 'busy');
        job.cancel(true);
        await failureOf(job.done);
      }),
    );

    it(
      `where there is no such bitmap for a ${kind}`,
      bench(({ workspace, a }) =>
        wrong(workspace[kind](a, '/old', { create, sync: 'incremental', bitmap: 'nope' }), 'not-found'),
      ),
    );

    it(
      `where a ${kind} is cancelled before it starts`,
      bench(({ workspace, a }) =>
        wrong(workspace[kind](a, '/old', { create, signal: AbortSignal.abort() }), 'cancelled'),
      ),
    );
  }

  for (const [what, call] of Object.entries<(bench: Bench, second: string) => Promise<unknown>>({
    'the target of the second of two backups': ({ workspace, a, b }, second) =>
      workspace.backups([
        { image: a, target: '/old', create },
        { image: b, target: second, create },
      ]),
    'the file of the second of two snapshots': ({ workspace, a, b }, second) =>
      workspace.snapshots([
        { image: a, file: '/old' },
        { image: b, file: second },
      ]),
  })) {
    it(
      `where another process uses ${what}`,
      bench(async (bench) => {
        const other = new Workspace(bench.host);
        const used = await other.open('/older');
        expect((await failureOf(call(bench, '/older'))).code).to.equal('locked');
        await used.close();
      }),
    );

    it(
      `where there is no folder for ${what}`,
      bench(async (bench) => {
        expect(await failureOf(call(bench, '/nowhere/x'))).to.include({ code: 'not-found', path: '/nowhere/x' });
      }),
    );
  }

  it(
    'where a mirror is to replace a node that is not there',
    bench(async ({ workspace, a }) => {
      expect((await failureOf(workspace.mirror(a, '/old', { create, replaces: 'nope' }))).code).to.equal('not-found');
    }),
  );

  const SECOND: Record<string, readonly [string, Partial<BackupRequest> & { first?: true }]> = {
    'names a bitmap that is not there': ['not-found', { create, sync: 'incremental', bitmap: 'nope' }],
    'has the job id of the first': ['exists', { create, jobId: 'same' }],
    'has the target of the first': ['locked', { create, target: '/old' }],
    'has the source of the first': ['busy', { create, first: true }],
    'has a target in use': ['locked', { create, target: '/a' }],
    'has an existing target that is not there': ['not-found', { target: '/none' }],
    'has an existing target of another size': ['invalid-argument', { target: '/small' }],
    'has a target without backing files for an overlay': [
      'invalid-argument',
      { create: { driver: 'raw' }, sync: 'none' },
    ],
  };
  for (const [title, [code, { first, ...second }]] of Object.entries(SECOND)) {
    it(
      `where the second of two backups ${title}`,
      bench(async ({ workspace, a, b }) => {
        await workspace.create('/small', { driver: 'qcow2', size: 65536 });
        const refused = workspace.backups([
          { image: a, target: '/old', create, jobId: 'same' },
          { image: first ? a : b, target: '/older', ...second },
        ]);
        expect((await failureOf(refused)).code).to.equal(code);
        expect([a.users, b.users]).to.deep.equal([[], []]);
      }),
    );
  }

  it(
    'where a conversion is cancelled before it starts',
    bench(async ({ workspace, a }) => {
      await a.close();
      const signal = AbortSignal.abort();
      expect((await failureOf(workspace.convert('/a', '/old', { create, signal }))).code).to.equal('cancelled');
    }),
  );

  for (const [title, code, second] of [
    ['the node name of the first', 'exists', { file: '/older', nodeName: 'same' }],
    ['the file of the first', 'locked', { file: '/old' }],
    ['a file in use', 'locked', { file: '/a' }],
  ] as const) {
    it(
      `where the second of two snapshots has ${title}`,
      bench(async ({ workspace, a, b }) => {
        const refused = workspace.snapshots([
          { image: a, file: '/old', nodeName: 'same' },
          { image: b, ...second },
        ]);
        expect((await failureOf(refused)).code).to.equal(code);
        expect([a.filename, b.filename]).to.deep.equal(['/a', '/b']);
      }),
    );
  }
});
