// The library: a target that is a file of the source is refused, and what is there stays.

import { linkSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { openRealHost } from '../src/host/real/index.js';
import { Workspace } from '../src/library/workspace.js';
import { BlockError } from '../src/util/errors.js';

describe('library: a target that is a file of the source', () => {
  let folder: string;
  let work: Workspace;
  const content = Buffer.alloc(1 << 16, 'data');
  const path = (name: string): string => join(folder, name);

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'diskwright-same-'));
    writeFileSync(path('d.raw'), content);
    linkSync(path('d.raw'), path('hard'));
    work = new Workspace(openRealHost());
    await work.create(path('over'), {
      driver: 'qcow2',
      size: content.length,
      'backing-file': path('d.raw'),
      'backing-fmt': 'raw',
    });
  });
  afterEach(async () => {
    await work.close();
    rmSync(folder, { recursive: true });
  });

  async function refused(action: Promise<unknown>): Promise<void> {
    const error = await action.then(
      () => null,
      (reason: unknown) => reason,
    );
    expect(error).to.be.instanceOf(BlockError);
    expect((error as BlockError).code).to.equal('locked');
    expect(readFileSync(path('d.raw')).equals(content)).to.equal(true);
  }

  it('is not converted into itself, nor into its backing file', async () => {
    const raw = { create: { driver: 'raw' } } as const;
    await refused(work.convert(path('d.raw'), path('d.raw'), { ...raw, source: { format: 'raw' } }));
    await refused(work.convert(path('d.raw'), path('hard'), { ...raw, source: { format: 'raw', forceShare: true } }));
    await refused(work.convert(path('over'), path('hard'), { ...raw, source: { forceShare: true } }));
  });

  it('is not mirrored or backed up into itself, though locks are off', async () => {
    const image = await work.open(
      { driver: 'raw', file: { driver: 'file', filename: path('d.raw'), locking: 'off' } },
      { readOnly: true },
    );
    const target = { driver: 'raw', file: { driver: 'file', filename: path('hard'), locking: 'off' } } as const;
    await refused(work.mirror(image, target, { sync: 'full' }));
    await refused(work.backup(image, target, { sync: 'full' }));
    await image.close();
  });

  it('is not replaced by a snapshot, nor by a new image', async () => {
    const image = await work.open(path('over'));
    await refused(work.snapshot(image, path('hard')));
    await refused(work.create(path('hard'), { driver: 'qcow2', size: 1 << 20 }));
    await image.close();
  });
});
