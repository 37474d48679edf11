// Images that calls of the library make where they are asked for. On the simulated host.

import { expect } from 'chai';
import { createSimHost, type SimHost } from '../../src/host/sim/index.js';
import type { Image } from '../../src/library/image.js';
import { Workspace } from '../../src/library/workspace.js';
import { failureOf } from '../drivers/support.js';

const MiB = 1 << 20;

function bench(work: (workspace: Workspace, image: Image, host: SimHost) => Promise<void>): () => Promise<void> {
  return async () => {
    const host = createSimHost({});
    await host.run(async () => {
      const workspace = new Workspace(host);
      await workspace.create('/base.qcow2', { driver: 'qcow2', size: MiB });
      await workspace.create('/a.qcow2', { driver: 'qcow2', 'backing-file': '/base.qcow2', 'backing-fmt': 'qcow2' });
      const image = await workspace.open('/a.qcow2');
      await image.write(0, new Uint8Array(65536).fill(1));
      await image.flush();
      await work(workspace, image, host);
      await workspace.close();
    });
  };
}

describe('targets of the library', () => {
  it(
    'are of every format that images are made in, with a size that follows from the call',
    bench(async (workspace, image) => {
      const content = await image.read(0, MiB);
      const readsAs = async (name: string, driver: string): Promise<void> => {
        const copy = await workspace.open(name, { readOnly: true, format: driver });
        expect((await copy.read(0, MiB)).equals(content), name).to.equal(true);
        await copy.close();
      };
      for (const driver of ['cow', 'parallels', 'qcow', 'qcow2', 'qed', 'raw', 'vdi', 'vhdx', 'vmdk'] as const) {
        await (await workspace.backup(image, `/backup.${driver}`, { create: { driver } })).done;
        await readsAs(`/backup.${driver}`, driver);
        await workspace.convert(`/backup.${driver}`, `/converted.${driver}`, {
          create: { driver },
          source: { format: driver },
        });
        await readsAs(`/converted.${driver}`, driver);
      }
      // A geometry is larger than the image.
      const exact = { create: { driver: 'vpc', 'force-size': true } } as const;
      await (await workspace.backup(image, '/backup.vpc', exact)).done;
      await readsAs('/backup.vpc', 'vpc');
    }),
  );

  it(
    'are made by a backup, compressed where that is said in either place',
    bench(async (workspace, image) => {
      const ways = [{ create: { driver: 'qcow2', compress: true } }, { create: {}, compress: true }] as const;
      for (const [i, settings] of ways.entries()) {
        const job = await workspace.backup(image, `/t${i}.qcow2`, settings);
        await job.done;
        expect((await workspace.check(`/t${i}.qcow2`)).compressedClusters).to.equal(1);
        const copy = await workspace.open(`/t${i}.qcow2`, { readOnly: true });
        expect((await copy.read(0, MiB)).equals(await image.read(0, MiB))).to.equal(true);
        await copy.close();
      }
    }),
  );

  it(
    'are made by a mirror, and take the place of the image',
    bench(async (workspace, image) => {
      const job = await workspace.mirror(image, '/new.img', { create: {} });
      await job.ready();
      await job.complete();
      await job.done;
      expect(image.filename).to.equal('/new.img');
      expect((await workspace.info('/new.img', { forceShare: true }))['virtual-size']).to.equal(MiB);
    }),
  );

  it(
    'have the format of their name, otherwise qcow2, as on the command line',
    bench(async (workspace, image) => {
      for (const [target, format] of [
        ['/m.raw', 'raw'],
        ['/m', 'qcow2'],
        ['/m.2026', 'qcow2'],
      ]) {
        for (const verb of ['mirror', 'backup'] as const) {
          const job = await workspace[verb](image, `/${verb}${target.slice(1)}`, { create: {} });
          if (verb === 'mirror') await job.ready();
          if (verb === 'mirror') job.cancel();
          await job.done;
          const { format: made } = await workspace.info(`/${verb}${target.slice(1)}`);
          expect(made, `${verb} to ${target}`).to.equal(format);
        }
      }
    }),
  );

  it(
    "are overlays of the source's backing file with sync top",
    bench(async (workspace, image) => {
      await (await workspace.backup(image, '/top.qcow2', { create: {}, sync: 'top' })).done;
      expect((await workspace.info('/top.qcow2'))['full-backing-filename']).to.equal('/base.qcow2');
      const refused = workspace.backup(image, '/top.raw', { create: {}, sync: 'top' });
      expect((await failureOf(refused)).message).to.equal("Backing file not supported for file format 'raw'");
    }),
  );

  it(
    'are gone where the job cannot begin',
    bench(async (workspace, image, host) => {
      const refused = workspace.backup(image, '/t.qcow2', { create: {}, sync: 'incremental', bitmap: 'none' });
      expect((await failureOf(refused)).code).to.equal('not-found');
      expect((await failureOf(host.stat('/t.qcow2'))).code).to.equal('not-found');
      expect(image.users).to.deep.equal([]);
    }),
  );

  it(
    'of several backups are made each with its own settings',
    bench(async (workspace, image) => {
      await workspace.create('/b.qcow2', { driver: 'qcow2', size: MiB });
      const other = await workspace.open('/b.qcow2');
      const jobs = await workspace.backups([
        { image, target: '/x.qcow2', create: { 'cluster-size': 4096 } as never },
        { image: other, target: '/y.raw', create: {} },
      ]);
      await Promise.all(jobs.map((job) => job.done));
      expect((await workspace.info('/x.qcow2'))['cluster-size']).to.equal(4096);
      expect((await workspace.info('/y.raw', { format: 'raw' })).format).to.equal('raw');
    }),
  );

  it(
    'are bases that an image, which is open read-only, is emptied into',
    bench(async (workspace, image) => {
      await image.close();
      const top = await workspace.open('/a.qcow2', { readOnly: true });
      await (await workspace.commit(top, { empty: true })).done;
      expect((await workspace.check('/a.qcow2', { forceShare: true })).allocatedClusters ?? 0).to.equal(0);
      expect((await top.read(0, 1))[0]).to.equal(1);
      await top.close();
    }),
  );

  it(
    'of a conversion have the format of their name, or the one that is named',
    bench(async (workspace, image) => {
      await image.close();
      for (const [target, how, format] of [
        ['/c.qcow2', undefined, 'qcow2'],
        ['/c.img', undefined, 'raw'],
        ['/c.RAW', {}, 'raw'],
        ['/c.disk', 'qcow2', 'qcow2'],
        ['/d.qcow2', { create: { 'cluster-size': 4096 } as never }, 'qcow2'],
      ] as const) {
        await workspace.convert('/a.qcow2', target, how);
        expect((await workspace.info(target)).format, target).to.equal(format);
        expect((await workspace.compare('/a.qcow2', target)).identical, target).to.equal(true);
      }
    }),
  );
});
