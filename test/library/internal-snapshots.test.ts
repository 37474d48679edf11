// Internal snapshots of an open image, through the library.

import { expect } from 'chai';
import { createSimHost } from '../../src/host/sim/index.js';
import { Workspace } from '../../src/index.js';
import { failureOf } from '../drivers/support.js';

const KIB = 1024;

async function disk(
  options: object = {},
): Promise<{ workspace: Workspace; image: Awaited<ReturnType<Workspace['open']>> }> {
  const workspace = new Workspace(createSimHost());
  await workspace.create('/a.qcow2', { driver: 'qcow2', size: 256 * KIB, ...options });
  return { workspace, image: await workspace.open('/a.qcow2') };
}

describe('internal snapshots of an open image', () => {
  it('are made, listed, applied with their size, opened by themselves, and deleted', async () => {
    const { workspace, image } = await disk();
    await image.write(0, Buffer.alloc(64 * KIB, 1));
    const bitmap = image.addBitmap('b');
    const made = await image.createSnapshot('first');
    expect(made)
      .to.include({ id: '1', name: 'first', 'vm-state-size': 0, 'vm-clock-sec': 0 })
      .and.not.have.property('icount');
    await image.write(0, Buffer.alloc(64 * KIB, 2));
    await image.resize(128 * KIB);
    await image.createSnapshot('second');
    expect(image.snapshots().map(({ name }) => name)).to.deep.equal(['first', 'second']);
    await image.applySnapshot({ name: 'first' });
    expect(image.size).to.equal(256 * KIB);
    expect((await image.read(0, 1))[0]).to.equal(1);
    expect(bitmap.dirtyBytes, 'all of it is dirty').to.equal(256 * KIB);
    await image.deleteSnapshot({ id: '1', name: 'first' });
    expect((await image.read(0, 1))[0]).to.equal(1);
    await image.close();
    const shown = await workspace.open('/a.qcow2', { readOnly: true, snapshot: { name: 'second' } });
    expect(shown.size).to.equal(128 * KIB);
    expect((await shown.read(0, 1))[0]).to.equal(2);
    await shown.close();
    expect((await workspace.info('/a.qcow2')).snapshots?.map(({ id }) => id)).to.deep.equal(['2']);
    const { corruptions, leaks } = await workspace.check('/a.qcow2');
    expect({ corruptions, leaks }).to.deep.equal({ corruptions: 0, leaks: 0 });
    await workspace.close();
  });

  it('are refused by code where they cannot be had', async () => {
    const { workspace, image } = await disk({ 'refcount-bits': 1 });
    await image.write(0, Buffer.alloc(64 * KIB, 1));
    const full = await failureOf(image.createSnapshot('one'));
    expect({ code: full.code, text: full.reason }).to.deep.equal({
      code: 'limit',
      text: 'The refcount of cluster 5 would overflow: refcounts have 1 bits',
    });
    expect((await failureOf(image.applySnapshot({ name: 'none' }))).code).to.equal('not-found');
    expect((await failureOf(image.deleteSnapshot({}))).code).to.equal('invalid-argument');
    expect((await failureOf(image.createSnapshot(''))).code).to.equal('invalid-argument');
    expect((await failureOf(image.deleteSnapshot({ nam: 'x' } as object))).code).to.equal('unknown-option');
    await image.close();
    for (const options of [{ snapshot: { id: '1' } }, { readOnly: true, snapshot: { id: '1' } }]) {
      const code = options.readOnly ? 'not-found' : 'invalid-argument';
      expect((await failureOf(workspace.open('/a.qcow2', options))).code).to.equal(code);
    }
    const readOnly = await workspace.open('/a.qcow2', { readOnly: true });
    expect((await failureOf(readOnly.createSnapshot('one'))).code).to.equal('read-only');
    await workspace.close();
  });

  it('are refused by formats without them, twice by one name, and while a job works', async () => {
    const { workspace, image } = await disk();
    await image.createSnapshot('one');
    expect((await failureOf(image.createSnapshot('one'))).code).to.equal('exists');
    const job = await workspace.backup(image, '/copy.qcow2', { create: {}, speed: 1 });
    expect((await failureOf(image.createSnapshot('two'))).code).to.equal('busy');
    job.cancel(true);
    await job.done.catch(() => undefined);
    await image.close();
    await workspace.create('/b.raw', { driver: 'raw', size: 4096 });
    const raw = await workspace.open('/b.raw', { format: 'raw' });
    expect(raw.snapshots()).to.deep.equal([]);
    expect((await failureOf(raw.createSnapshot('one'))).code).to.equal('unsupported');
    await workspace.close();
  });
});
