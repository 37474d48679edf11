// What a call says of an image that the same program has open for writing; and a call that is aborted before it begins. On the simulated host.

import { expect } from 'chai';
import { createSimHost } from '../../src/host/sim/index.js';
import { Workspace } from '../../src/library/workspace.js';
import { failureOf } from '../drivers/support.js';

const MiB = 1 << 20;

const CALLS: readonly (readonly [name: string, call: (workspace: Workspace) => Promise<unknown>])[] = [
  ['open', (workspace) => workspace.open('/used')],
  ['create', (workspace) => workspace.create('/used', { driver: 'qcow2', size: MiB })],
  ['check', (workspace) => workspace.check('/used')],
  ['map', (workspace) => workspace.map('/used').next()],
  ['compare', (workspace) => workspace.compare('/other', '/used')],
  ['convert', (workspace) => workspace.convert('/used', '/new.qcow2')],
  ['convert to it', (workspace) => workspace.convert('/other', '/used', 'qcow2')],
];

async function withImages(work: (workspace: Workspace) => Promise<void>): Promise<void> {
  const host = createSimHost({});
  await host.run(async () => {
    const workspace = new Workspace(host);
    for (const name of ['/used', '/other']) await workspace.create(name, { driver: 'qcow2', size: MiB });
    await work(workspace);
    await workspace.close();
  });
}

describe('an image that is open for writing in the same program', () => {
  for (const [name, call] of CALLS) {
    it(`is said to be so: ${name}`, () =>
      withImages(async (workspace) => {
        await workspace.open('/used');
        const error = await failureOf(call(workspace));
        expect(error).to.include({ code: 'locked', path: '/used' });
        expect(error.message).to.match(
          /^Failed to get (shared )?"write" lock\nThis program has '\/used' open already(: close it, or read it with 'forceShare')?$/,
        );
      }));
  }
});

describe('a call whose signal is aborted already', () => {
  const signal = AbortSignal.abort('no more');

  it('compare looks at no file', () =>
    withImages(async (workspace) => {
      const error = await failureOf(workspace.compare('/gone', '/other', { signal }));
      expect(error).to.include({ code: 'cancelled', cause: 'no more' });
    }));

  it('convert looks at no file, and makes none', () =>
    withImages(async (workspace) => {
      expect(await failureOf(workspace.convert('/gone', '/new.qcow2', { signal }))).to.include({ code: 'cancelled' });
      expect((await failureOf(workspace.open('/new.qcow2'))).code).to.equal('not-found');
    }));
});
