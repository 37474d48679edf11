// Jobs of our daemon whose source, or whose source's base, is an image on a web server: what the targets hold, as qemu-img reads them.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { Workshop } from '../support/cli.js';
import { Nginx } from '../support/nginx.js';
import { requirePeer } from '../support/peers.js';
import { type Json, StorageDaemon } from '../support/qmp.js';

const MIB = 1 << 20;

describe('jobs that read of a web server', function () {
  this.timeout(60_000);
  let shop: Workshop;
  let nginx: Nginx;
  let folder: string;
  let daemon: StorageDaemon;

  before(async function () {
    for (const peer of ['nginx', 'openssl', 'qemu-img', 'qemu-io']) requirePeer(this, peer);
    shop = await Workshop.open();
    folder = mkdtempSync(join(tmpdir(), 'diskwright-nginx-'));
    nginx = await Nginx.start(folder);
    const image = join(nginx.files, 'disk.qcow2');
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', image, '32M');
    shop.qemuIo(image, 'write -P 7 1M 3M', 'write -P 9 20M 5M', 'write -z 26M 1M');
    // The overlay as it is to be read; the one that the jobs see has the server's image as its base.
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', image, '-F', 'qcow2', 'wanted.qcow2');
    shop.qemuIo(shop.path('wanted.qcow2'), 'write -P 5 2M 64k', 'write -z 20M 1M');
    daemon = await StorageDaemon.start(shop.path('qmp'), [], [process.execPath, shop.bundle, 'daemon']);
  });

  after(async () => {
    await daemon?.quit();
    await nginx?.stop();
    shop?.remove();
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  });

  const base = (name: string): Json => ({
    driver: 'qcow2',
    'node-name': name,
    'read-only': true,
    file: { driver: 'http', url: `${nginx.plain}/moved/disk.qcow2` },
  });

  /** Adds a node of a local image, made by qemu-img. */
  async function addLocal(name: string, more: Json, ...words: string[]): Promise<void> {
    const path = shop.path(`${name}.qcow2`);
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', ...words, path, '32M');
    await daemon.execute('blockdev-add', {
      driver: 'qcow2',
      'node-name': name,
      file: { driver: 'file', filename: path },
      ...more,
    });
  }

  /** Adds `source`: the image on the server, or an overlay of it. */
  async function addSource(kind: string): Promise<string[]> {
    if (kind === 'the image') {
      await daemon.execute('blockdev-add', base('source'));
      return ['source'];
    }
    await daemon.execute('blockdev-add', base('base'));
    await addLocal('source', { backing: 'base' });
    await exported('source', async (write) => {
      write('2M 64k', 5);
      write('20M 1M', 0);
    });
    return ['source', 'base'];
  }

  /** Runs `action` with a function that writes to `node` as a machine does: through an export. */
  async function exported(node: string, action: (write: (range: string, pattern: number) => void) => Promise<void>) {
    const path = shop.path('nbd.sock');
    await daemon.execute('nbd-server-start', { addr: { type: 'unix', data: { path } } });
    await daemon.execute('block-export-add', { type: 'nbd', id: 'export', 'node-name': node, writable: true });
    await action((range, pattern) => {
      const words = ['-f', 'raw', '-c', `write -q ${pattern === 0 ? '-z' : `-P ${pattern}`} ${range}`];
      shop.must('qemu-io', ...words, `nbd+unix:///${node}?socket=${path}`);
    });
    await daemon.execute('nbd-server-stop');
  }

  async function remove(...names: string[]): Promise<void> {
    for (const name of names) await daemon.execute('blockdev-del', { 'node-name': name });
  }

  function expectSame(name: string, kind: string): void {
    const wanted = kind === 'the image' ? join(nginx.files, 'disk.qcow2') : shop.path('wanted.qcow2');
    expect(shop.qemuImg('compare', shop.path(`${name}.qcow2`), wanted).code).to.equal(0);
    expect(shop.qemuImg('check', '-q', shop.path(`${name}.qcow2`)).code).to.equal(0);
  }

  for (const kind of ['the image', 'an overlay of it']) {
    for (const command of ['blockdev-mirror', 'blockdev-backup']) {
      it(`${command} of ${kind} copies what the server has`, async () => {
        const names = await addSource(kind);
        await addLocal('target', {});
        await daemon.job(command, { 'job-id': 'job', device: 'source', target: 'target', sync: 'full' });
        await remove('target', ...names);
        expectSame('target', kind);
      });
    }
  }

  it('blockdev-backup keeps the old bytes where the overlay is written to meanwhile', async () => {
    const names = await addSource('an overlay of it');
    await addLocal('target', {});
    const words = { 'job-id': 'job', device: 'source', target: 'target', sync: 'full', speed: 4 * MIB };
    await exported('source', async (write) => {
      await daemon.execute('blockdev-backup', words);
      write('21M 1M', 3);
      await daemon.execute('block-job-set-speed', { device: 'job', speed: 0 });
      expect((await daemon.event('BLOCK_JOB_COMPLETED'))['error']).to.equal(undefined);
    });
    await remove('target', ...names);
    expectSame('target', 'an overlay of it');
  });

  it('block-stream makes an overlay independent of the server', async () => {
    const names = await addSource('an overlay of it');
    await daemon.job('block-stream', { 'job-id': 'job', device: 'source' });
    await remove(...names);
    expect(shop.must('qemu-img', 'info', shop.path('source.qcow2'))).not.to.include('backing');
    expectSame('source', 'an overlay of it');
  });

  it('block-commit of a middle image leaves the one on the server as it is, and one into it is refused', async () => {
    const names = await addSource('an overlay of it');
    await addLocal('top', { backing: 'source' });
    await exported('top', async (write) => write('20M 64k', 4));
    const before = shop.must('qemu-img', 'info', '--output=json', join(nginx.files, 'disk.qcow2'));
    const into = { 'job-id': 'job', device: 'top', 'base-node': 'base' };
    const refused = await daemon.job('block-commit', into).then(() => '', String);
    expect(refused).to.include('curl driver does not support writes');
    await daemon.job('block-commit', { 'job-id': 'job', device: 'top', 'base-node': 'source' });
    shop.qemuIo(shop.path('wanted.qcow2'), 'write -q -P 4 20M 64k');
    await remove('top', ...names);
    expect(shop.must('qemu-img', 'info', '--output=json', join(nginx.files, 'disk.qcow2'))).to.equal(before);
    shop.must(
      'qemu-img',
      'rebase',
      '-u',
      '-b',
      join(nginx.files, 'disk.qcow2'),
      '-F',
      'qcow2',
      shop.path('source.qcow2'),
    );
    expectSame('source', 'an overlay of it');
  });
});
