// Compact of an image that is in use: as a job of the library, beside a guest, paused, slowed down and cancelled; with another program kept out.

import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { type Image, openRealHost, Workspace } from '../../src/index.js';

const CLUSTER = 65536;
const SIZE = 64 * CLUSTER;

describe('compact of an image that is in use', () => {
  let folder: string;
  let path: string;
  let workspace: Workspace;
  let image: Image;

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'diskwright-compact-'));
    path = join(folder, 'disk.qcow2');
    workspace = new Workspace(await openRealHost());
    await workspace.create(path, { driver: 'qcow2', size: SIZE });
    image = await workspace.open(path);
    for (let at = 0; at < SIZE; at += CLUSTER) await image.write(at, new Uint8Array(CLUSTER).fill(1 + at / CLUSTER));
    await image.createSnapshot('first');
    await image.write(0, new Uint8Array(SIZE / 2).fill(200));
    await image.deleteSnapshot({ name: 'first' });
    await image.flush();
  });
  afterEach(async () => {
    await workspace.close();
    rmSync(folder, { recursive: true, force: true });
  });

  async function expectContent(first: number): Promise<void> {
    const bytes = await image.read(0, SIZE);
    for (let i = 0; i < SIZE / CLUSTER; i++) {
      const value = i < SIZE / CLUSTER / 2 ? first : 1 + i;
      const cluster = bytes.subarray(i * CLUSTER, (i + 1) * CLUSTER);
      expect(cluster.every((byte) => byte === value)).to.equal(true, `cluster ${i}`);
    }
  }

  it('frees what was said, while a guest writes', async () => {
    const plan = await workspace.planCompact(image);
    expect(plan.after).to.be.below(plan.before - SIZE / 4);
    const job = await workspace.compact(image);
    for (let i = 0; i < 20; i++) await image.write(0, new Uint8Array(SIZE / 2).fill(100 + i));
    await job.done;
    expect(job.type).to.equal('compact');
    await expectContent(119);
    await image.close();
    expect(statSync(path).size).to.equal(plan.after);
    const { corruptions, leaks } = await workspace.check(path);
    expect({ corruptions, leaks }).to.deep.equal({ corruptions: 0, leaks: 0 });
    image = await workspace.open(path);
    await expectContent(119);
  });

  it('goes no faster than it may, is paused, and may be cancelled; the rest is done by another run', async () => {
    const job = await workspace.compact(image, { speed: 1 });
    job.pause();
    await image.write(0, new Uint8Array(CLUSTER).fill(200));
    job.resume();
    await expectRejection(workspace.compact(image), 'busy');
    job.cancel();
    await expectRejection(job.done, 'cancelled');
    await expectContent(200);
    const plan = await workspace.planCompact(image);
    await (await workspace.compact(image)).done;
    await expectContent(200);
    await image.close();
    expect(statSync(path).size).to.equal(plan.after);
  });

  it('is refused to another program while one has the image', async () => {
    const other = new Workspace(await openRealHost());
    try {
      await expectRejection(other.open(path), 'locked');
    } finally {
      await other.close();
    }
  });

  it('drops zeroes, and with a backing file what that has', async () => {
    await image.write(0, new Uint8Array(SIZE / 2));
    await image.write(SIZE / 2, new Uint8Array(CLUSTER).fill(9));
    await image.close();
    const top = join(folder, 'top.qcow2');
    await workspace.create(top, { driver: 'qcow2', 'backing-file': path, 'backing-fmt': 'qcow2' });
    image = await workspace.open(top);
    await image.write(SIZE / 2, new Uint8Array(CLUSTER).fill(9));
    await image.write(SIZE / 2 + CLUSTER, new Uint8Array(CLUSTER));
    const zeroes = await workspace.planCompact(image);
    const both = await workspace.planCompact(image, { dedupeBacking: true });
    expect([zeroes.dropped, both.dropped]).to.deep.equal([CLUSTER, 2 * CLUSTER]);
    await (await workspace.compact(image, { dedupeBacking: true })).done;
    const bytes = await image.read(SIZE / 2, 2 * CLUSTER);
    expect([bytes[0], bytes[CLUSTER - 1], bytes[CLUSTER]]).to.deep.equal([9, 9, 0]);
    await image.close();
    expect(statSync(top).size).to.equal(both.after);
    await expectRejection(
      workspace.open(path).then((one) => workspace.planCompact(one, { dedupeBacking: true })),
      'invalid-argument',
    );
  });
});

async function expectRejection(promise: Promise<unknown>, code: string): Promise<void> {
  const error = await promise.then(
    () => null,
    (reason: unknown) => reason,
  );
  expect(error).to.have.property('code', code);
}
