// The library: what a workspace adds to nodes and jobs. On the simulated host.

import { expect } from 'chai';
import { createSimHost, type SimHost, type SimHostOptions } from '../../src/host/sim/index.js';
import { deviceOf, type Image } from '../../src/library/image.js';
import type { WorkspaceOptions } from '../../src/library/options.js';
import { Workspace } from '../../src/library/workspace.js';
import { failureOf } from '../drivers/support.js';

const MiB = 1 << 20;

describe('workspace', () => {
  let host: SimHost;
  let workspace: Workspace;
  const warnings: string[] = [];

  const make = (options: WorkspaceOptions = {}, simulation: SimHostOptions = {}): void => {
    warnings.length = 0;
    host = createSimHost(simulation);
    workspace = new Workspace(host, { ...options, warn: (message) => warnings.push(message) });
  };
  /** An image with `dataBytes` of data at its begin. */
  const disk = async (name: string, size = MiB, dataBytes = MiB): Promise<Image> => {
    await workspace.create(name, { driver: 'qcow2', size });
    const image = await workspace.open(name);
    for (let at = 0; at < dataBytes; at += MiB) await image.write(at, new Uint8Array(MiB).fill(at / MiB + 1));
    return image;
  };
  const target = (name: string, size = MiB): Promise<void> => workspace.create(name, { driver: 'qcow2', size });
  const run = (work: () => Promise<void>) => () => {
    make();
    return host.run(work);
  };

  it(
    'limits an image, and lifts the limits',
    run(async () => {
      const image = await disk('/a');
      const begin = host.clock.now();
      image.limit({ 'bps-total': MiB });
      for (let i = 0; i < 3; i++) await image.read(0, new Uint8Array(MiB));
      expect(host.clock.now() - begin).to.be.greaterThan(1500);
      image.limit({});
      expect(deviceOf(image).throttle).to.equal(null);
      expect(() => image.limit({ 'bps-total-max': 5 }))
        .to.throw()
        .with.property('code', 'invalid-argument');
      await workspace.close();
    }),
  );

  it(
    'changes the copy mode of a mirror, and of nothing else',
    run(async () => {
      const image = await disk('/a');
      await target('/t');
      const job = await workspace.mirror(image, '/t', { sync: 'full' });
      await job.ready();
      job.change({ copyMode: 'write-blocking' });
      expect(() => job.change({ copyMode: 'background' }))
        .to.throw()
        .with.property('code', 'invalid-argument');
      await job.complete();
      await job.done;
      await workspace.close();
    }),
  );

  it(
    'backs up two images of one moment, together or not at all',
    run(async () => {
      const [a, b] = [await disk('/a'), await disk('/b')];
      await target('/ta');
      await target('/tb');
      const request = (image: Image, to: string) => ({
        image,
        target: to,
        speed: MiB,
      });
      const jobs = await workspace.backups([request(a, '/ta'), request(b, '/tb')]);
      jobs[1].cancel();
      expect((await failureOf(jobs[0].done)).code).to.equal('cancelled');
      const again = await workspace.backups([request(a, '/ta'), request(b, '/tb')]);
      await Promise.all(again.map((job) => job.done));
      await target('/small', 512);
      const refused = workspace.backups([request(a, '/ta'), request(b, '/small')]);
      expect((await failureOf(refused)).code).to.equal('invalid-argument');
      expect(await workspace.backups([])).to.deep.equal([]);
      await workspace.close();
    }),
  );

  it('lets so many jobs run on a disk as was said; those of a transaction go together', async () => {
    make({ jobsPerDisk: 1 }, { manualClock: true });
    // The scheduler keeps its own time: the simulated clock is driven beside it.
    let over = false;
    const work = (async () => {
      const [a, b, c] = [await disk('/a'), await disk('/b'), await disk('/c')];
      for (const name of ['/ta', '/tb', '/tc']) await target(name);
      const first = await workspace.backups([
        { image: a, target: '/ta' },
        { image: b, target: '/tb' },
      ]);
      const order: string[] = [];
      for (const job of first) job.on('JOB_STATUS_CHANGE', ({ status }) => order.push(`first ${status}`));
      // Whoever comes before the first has begun may go first.
      while (first[0].status === 'created') await new Promise<void>((resolve) => setImmediate(resolve));
      const second = await workspace.backup(c, '/tc', { sync: 'full', priority: 0 });
      second.on('JOB_STATUS_CHANGE', ({ status }) => order.push(`second ${status}`));
      expect(second.status).to.equal('created');
      await Promise.all([...first, second].map((job) => job.done));
      expect(order.indexOf('second running')).to.be.greaterThan(order.lastIndexOf('first concluded'));
      const bad = workspace.backup(c, '/tc', { sync: 'full', priority: 10 });
      expect((await failureOf(bad)).code).to.equal('invalid-argument');
      await workspace.close();
    })().finally(() => {
      over = true;
    });
    while (!over) {
      await host.advance(1);
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
    await work;
  });

  for (const [capacity, warned] of [
    [200 * MiB, 0],
    [140 * MiB, 1],
  ]) {
    it(`warns ${warned} times where ${capacity / MiB - 80} MiB are free for 80 MiB`, async () => {
      make({}, { capacity });
      await host.run(async () => {
        const image = await disk('/a', 80 * MiB, 80 * MiB);
        await target('/t', 80 * MiB);
        const job = await workspace.backup(image, '/t', { sync: 'full', speed: 1000 });
        job.cancel();
        await failureOf(job.done);
        await workspace.close();
      });
      expect(warnings).to.have.lengthOf(warned);
      const text =
        /^WARNING: '\/t' may not fit: about [78]\d(\.\d)? MiB will be written, and [56]\d(\.\d)? MiB are free/;
      for (const warning of warnings) expect(warning).to.match(text);
    });
  }
});
