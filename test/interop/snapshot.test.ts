// Live snapshots of real files while they are written: qemu-img reads the chain as the guest left it, and finds it in order.

import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { expect } from 'chai';
import { rootOf } from '../../src/block/device.js';
import { openRealHost } from '../../src/host/real/index.js';
import { deviceOf } from '../../src/library/image.js';
import { Workspace } from '../../src/library/workspace.js';
import { expectSame } from '../conformance/checks.js';
import { codeOf } from '../conformance/entry.js';
import { requirePeer } from '../support/peers.js';
import { seeded } from './chain-maker.js';
import { qemuCheck, qemuImg, referenceContent, SEED, useBench } from './support.js';

const SIZE = 8 << 20;
const BLOCK = 4096;

describe('live snapshots beside qemu-img', function () {
  this.timeout(120_000);
  const bench = useBench('snapshot');

  before(function () {
    requirePeer(this, 'qemu-img');
  });

  it(`keeps what was there and loses nothing that is written meanwhile (seed ${SEED})`, async () => {
    const random = seeded(SEED);
    const workspace = new Workspace(await openRealHost());
    const disks: { name: string; model: Buffer }[] = [];
    try {
      for (const name of ['one', 'two']) {
        qemuImg('create', '-q', '-f', 'raw', join(bench.folder, `${name}-base.raw`), String(SIZE));
        qemuImg(
          ...['create', '-q', '-f', 'qcow2', '-b', `${name}-base.raw`, '-F', 'raw'],
          join(bench.folder, `${name}-0.qcow2`),
        );
        disks.push({ name, model: Buffer.alloc(SIZE) });
      }
      const images = await Promise.all(disks.map(({ name }) => workspace.open(join(bench.folder, `${name}-0.qcow2`))));
      let stop = false;
      let written = 0;
      const guests = images.flatMap((image, i) =>
        Array.from({ length: 4 }, async (_, worker) => {
          // Each worker writes blocks of its own.
          const buffer = new Uint8Array(BLOCK);
          while (!stop && written < 200_000) {
            const at = (random(SIZE / BLOCK / 4) * 4 + worker) * BLOCK;
            buffer.fill(1 + (written++ % 255));
            await image.write(at, buffer);
            disks[i].model.set(buffer, at);
          }
        }),
      );
      const work = Promise.all(guests);
      for (let round = 1; round <= 3; round++) {
        // A flush of nothing takes no turn of the event loop, which the guests need.
        for (const goal = written + 400; written < goal; await setImmediate()) {
          await Promise.race([images[0].flush(), work]);
        }
        const orders = images.map((image, i) => ({
          image,
          file: join(bench.folder, `${disks[i].name}-${round}.qcow2`),
        }));
        await workspace.snapshots(orders);
        for (const [i, { name }] of disks.entries()) {
          const below = join(bench.folder, `${name}-${round - 1}.qcow2`);
          expect(rootOf(deviceOf(images[i])).node.children.get('backing')!.node.filename).to.equal(below);
        }
      }
      stop = true;
      await work;
      for (const image of images) await image.close();
    } finally {
      await workspace.close();
    }
    for (const { name, model } of disks) {
      const top = join(bench.folder, `${name}-3.qcow2`);
      expectSame(referenceContent(bench, top, 'qcow2'), model, name);
      const chain = JSON.parse(qemuImg('info', '--backing-chain', '--output=json', top)) as { filename: string }[];
      expect(chain.map(({ filename }) => filename)).to.deep.equal([
        ...[3, 2, 1, 0].map((round) => join(bench.folder, `${name}-${round}.qcow2`)),
        join(bench.folder, `${name}-base.raw`),
      ]);
      for (const round of [0, 1, 2, 3]) {
        const { status, text } = qemuCheck(join(bench.folder, `${name}-${round}.qcow2`));
        expect(status, text).to.equal(0);
      }
    }
  });

  it('refuses while a job works on the image, and leaves no file', async () => {
    const workspace = new Workspace(await openRealHost());
    try {
      const at = (name: string) => join(bench.folder, name);
      for (const name of ['source', 'target']) await workspace.create(at(name), { driver: 'qcow2', size: SIZE });
      const image = await workspace.open(at('source'));
      await image.write(0, new Uint8Array(SIZE).fill(1));
      const job = await workspace.mirror(image, at('target'), { sync: 'full' });
      expect(await codeOf(workspace.snapshot(image, at('overlay')))).to.equal('busy');
      expect(readdirSync(bench.folder)).to.not.include('overlay');
      await job.ready();
      job.cancel(true);
      await job.done.catch(() => undefined);
      await workspace.snapshot(image, at('overlay'));
      await image.close();
    } finally {
      await workspace.close();
    }
  });
});
