// Copies that share blocks with their source, on file systems that can: the target reads as the source, is an image without faults for qemu-img, and takes no
// space of its own for the data. And the words of `convert -C`.

import { statSync } from 'node:fs';
import { expect } from 'chai';
import { openRealHost } from '../../src/host/real/index.js';
import { Workspace } from '../../src/library/workspace.js';
import { asOurs, Workshop } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';
import { type Mounted, mountReflink, REFLINK_SYSTEMS, sharedBytes } from '../support/reflink.js';

const MIB = 1 << 20;
const DATA = 8 * MIB;

for (const system of REFLINK_SYSTEMS) {
  describe(`copies that share blocks (${system})`, function () {
    this.timeout(60_000);
    let mounted: Mounted;
    let shop: Workshop;
    let workspace: Workspace;
    const path = (name: string) => `${mounted.folder}/${name}`;
    const expectSame = (a: string, b: string) => {
      const format = (name: string) => (name.endsWith('.raw') ? 'raw' : 'qcow2');
      const words = ['compare', '-f', format(a), '-F', format(b), path(a), path(b)];
      expect(shop.must('qemu-img', ...words)).to.equal('Images are identical.\n');
      if (format(b) === 'qcow2') expect(shop.qemuImg('check', path(b)).code).to.equal(0);
    };

    before(async function () {
      for (const peer of ['qemu-img', 'qemu-io']) requirePeer(this, peer);
      mounted = mountReflink(this, system);
      shop = await Workshop.open();
      workspace = new Workspace(openRealHost());
      // Data, zeroes that are data, holes, and an end that is no whole cluster.
      const writes = ['write -q -P 1 0 4M', 'write -q -P 2 16M 4M', 'write -q -P 0 24M 64k', 'write -q -P 3 39M 512'];
      shop.must('qemu-img', 'create', '-q', '-f', 'raw', path('a.raw'), '40960512');
      shop.qemuIo(path('a.raw'), ...writes);
      shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', path('a.qcow2'), '40960512');
      shop.qemuIo(path('a.qcow2'), ...writes);
    });
    after(async () => {
      await workspace?.close();
      shop?.remove();
      mounted?.remove();
    });

    for (const source of ['a.raw', 'a.qcow2']) {
      for (const target of ['b.raw', 'b.qcow2']) {
        it(`convert ${source} to ${target}`, async () => {
          await workspace.convert(path(source), path(target), { copyRange: true });
          expectSame(source, target);
          expect(sharedBytes(path(target))).to.be.at.least(DATA);
        });
      }
    }

    it('convert without it shares nothing, and finds zeroes', async () => {
      await workspace.convert(path('a.raw'), path('c.raw'));
      expectSame('a.raw', 'c.raw');
      expect(sharedBytes(path('c.raw'))).to.equal(0);
      // Space comes in pieces of `extent_size_hint`, by default 1 MiB, where the file system has them.
      expect(statSync(path('c.raw')).blocks * 512).to.be.at.most(DATA + (1 << 20) + 128 * 1024);
    });

    it('a backup that may', async () => {
      for (const copyRange of [true, false]) {
        const image = await workspace.open(path('a.qcow2'));
        const name = `backup-${copyRange}.qcow2`;
        const job = await workspace.backup(image, path(name), { create: {}, copyRange });
        await job.done;
        await image.close();
        expectSame('a.qcow2', name);
        if (copyRange) expect(sharedBytes(path(name))).to.be.at.least(DATA);
        else expect(sharedBytes(path(name))).to.equal(0);
      }
    });

    for (const base of ['base.raw', 'base.qcow2']) {
      it(`a commit into ${base}, which has some of the clusters already`, async () => {
        const format = base.endsWith('.raw') ? 'raw' : 'qcow2';
        shop.must('qemu-img', 'create', '-q', '-f', format, path(base), '32M');
        shop.qemuIo(path(base), 'write -q -P 5 0 3M', 'write -q -P 6 20M 1M');
        shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', path(base), '-F', format, path('over.qcow2'));
        shop.qemuIo(path('over.qcow2'), 'write -q -P 7 1M 8M', 'write -q -P 8 30M 100k', 'write -q -z 20M 64k');
        shop.must('qemu-img', 'convert', '-O', 'raw', path('over.qcow2'), path('expected.raw'));
        // The commit empties the overlay: another file has the blocks, too, so that it can be seen where they went.
        shop.must('cp', '--reflink=always', path('over.qcow2'), path('kept.qcow2'));
        expect(shop.ours('commit', '-q', path('over.qcow2')).code).to.equal(0);
        expectSame('expected.raw', base);
        expectSame('over.qcow2', base);
        expect(sharedBytes(path(base))).to.be.at.least(8 * MIB - 64 * 1024);
      });
    }
  });
}

describe('convert -C beside qemu-img', () => {
  let shop: Workshop;
  before(async function () {
    requirePeer(this, 'qemu-img');
    shop = await Workshop.open();
  });
  after(() => shop?.remove());

  it('refuses what it excludes, in this order', () => {
    for (const words of ['-C -S 4k', '-C -c -S 0 a b', '-C --salvage -S 4k a b', '-C --salvage a b', '-m 4 -C -c a']) {
      const args = ['convert', ...words.split(' ')];
      expect(shop.ours(...args), words).to.deep.equal(asOurs(shop.qemuImg(...args)));
    }
  });

  it('copies where the file system cannot share', () => {
    shop.must('qemu-img', 'create', '-q', '-f', 'raw', 'a', '3M');
    shop.qemuIo('a', 'write -q -P 9 1M 1M');
    expect(shop.ours('convert', '-C', '-f', 'raw', '-O', 'qcow2', 'a', 'b')).to.deep.equal({
      code: 0,
      stdout: '',
      stderr: '',
    });
    expect(shop.must('qemu-img', 'compare', '-f', 'raw', '-F', 'qcow2', 'a', 'b')).to.equal('Images are identical.\n');
  });
});
