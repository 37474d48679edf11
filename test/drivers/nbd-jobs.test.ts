// Copies from and to another machine: convert, mirror and backup through qemu-nbd, byte for byte, and the command line beside qemu-img.

import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { openRealHost, Workspace } from '../../src/index.js';
import { asOurs, cliBundle, type Outcome, run } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';
import { StorageDaemon } from '../support/qmp.js';
import { NbdLab } from './nbd-support.js';
import { pattern } from './support.js';

const SIZE = 8 << 20;

/** Data, zeroes that are written, a hole, data. */
function makeSource(path: string): Buffer {
  const content = Buffer.alloc(SIZE);
  content.set(pattern(SIZE / 4), 0);
  content.set(pattern(SIZE / 8, 2), SIZE / 2);
  writeFileSync(path, content.subarray(0, (SIZE * 3) / 4));
  spawnSync('truncate', ['-s', String(SIZE), path]);
  return content;
}

describe('nbd: copies', () => {
  let lab: NbdLab;
  let workspace: Workspace;
  let content: Buffer;
  let uri: string;

  beforeEach(async function () {
    requirePeer(this, 'qemu-nbd');
    requirePeer(this, 'qemu-img');
    lab = new NbdLab();
    workspace = new Workspace(openRealHost());
    content = makeSource(lab.path('source'));
    // What was there must not shine through.
    writeFileSync(lab.path('target'), Buffer.alloc(SIZE, 0x55));
    await lab.qemuNbd(lab.path('s'), '-e', '8', '-f', 'raw', '--discard=unmap', lab.path('target'));
    uri = `nbd+unix:///?socket=${lab.path('s')}`;
  });
  afterEach(async () => {
    await workspace?.close();
    await lab?.close();
  });

  const target = (): Buffer => readFileSync(lab.path('target'));

  it('convert to an export, and back', async () => {
    await workspace.convert(lab.path('source'), uri, { source: { format: 'raw' }, create: { driver: 'raw' } });
    expect(target().equals(content)).to.equal(true);
    await workspace.convert(uri, lab.path('back'), { source: { format: 'raw' }, create: { driver: 'qcow2' } });
    expect(run('qemu-img', ['compare', 'source', 'back'], lab.folder).code).to.equal(0);
  });

  it('mirror to an export, with writes meanwhile', async () => {
    const image = await workspace.open(lab.path('source'), { format: 'raw' });
    const job = await workspace.mirror(image, uri, { sync: 'full', format: 'raw' });
    const data = pattern(100_000, 8);
    await image.write(12_345, data);
    content.set(data, 12_345);
    await job.ready();
    await job.complete();
    await job.done;
    const late = pattern(512, 4);
    await image.write(0, late);
    content.set(late, 0);
    await image.close();
    expect(target().equals(content)).to.equal(true);
  });

  it('backup to an export', async () => {
    const image = await workspace.open(lab.path('source'), { format: 'raw' });
    const job = await workspace.backup(image, uri, { sync: 'full', format: 'raw' });
    await image.write(0, new Uint8Array(65536).fill(1));
    await job.done;
    await image.close();
    expect(target().equals(content)).to.equal(true);
  });

  it('an overlay over an export reads and commits through it', async () => {
    // In place: qemu-nbd may look at the file's size meanwhile.
    writeFileSync(lab.path('target'), content, { flag: 'r+' });
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', '-F', 'raw', '-b', uri, lab.path('overlay')]);
    const image = await workspace.open(lab.path('overlay'));
    const data = pattern(70_000, 6);
    await image.write(1000, data);
    content.set(data, 1000);
    const back = Buffer.alloc(SIZE);
    await image.read(0, back);
    expect(back.equals(content)).to.equal(true);
    const job = await workspace.commit(image);
    await job.ready();
    await job.complete();
    await job.done;
    await image.close();
    expect(target().equals(content)).to.equal(true);
  });
});

describe('nbd: the command line beside qemu-img', () => {
  let lab: NbdLab;
  let bundle: string;
  let uri: string;

  before(async function () {
    requirePeer(this, 'qemu-nbd');
    requirePeer(this, 'qemu-img');
    bundle = await cliBundle();
    lab = new NbdLab();
    makeSource(lab.path('source'));
    writeFileSync(lab.path('target'), Buffer.alloc(SIZE, 0x55));
    await lab.qemuNbd(lab.path('s'), '-e', '8', '-f', 'raw', '--discard=unmap', lab.path('source'));
    await lab.qemuNbd(lab.path('t'), '-e', '8', '-f', 'raw', '--discard=unmap', lab.path('target'));
    uri = `nbd+unix:///?socket=${lab.path('s')}`;
  });
  after(() => lab?.close());

  const ours = (...args: string[]): Outcome => run(process.execPath, [bundle, ...args], lab.folder);
  const theirs = (...args: string[]): Outcome => asOurs(run('qemu-img', args, lab.folder));

  const same: string[][] = [
    ['info', 'URI'],
    ['info', '--output=json', 'URI'],
    ['info', '--image-opts', 'driver=nbd,server.type=unix,server.path=s'],
    ['map', 'URI'],
    ['map', '--output=json', 'URI'],
    ['compare', '-f', 'raw', '-F', 'raw', 'source', 'URI'],
    ['compare', '-f', 'raw', '-F', 'raw', 'target', 'URI'],
    ['info', 'nbd:unix:s:exportname=other'],
    ['info', 'nbd:unix:nowhere'],
    ['info', '--image-opts', 'driver=nbd'],
    ['info', 'nbd:'],
    ['create', '-f', 'raw', 'URI', '1M'],
  ];
  for (const words of same) {
    it(words.join(' '), () => {
      const args = words.map((word) => (word === 'URI' ? uri : word));
      expect(ours(...args)).to.deep.equal(theirs(...args));
    });
  }

  it('convert writes what qemu-img writes', () => {
    const to = `nbd+unix:///?socket=${lab.path('t')}`;
    for (const convert of [theirs, ours]) {
      writeFileSync(lab.path('target'), Buffer.alloc(SIZE, 0x55));
      expect(convert('convert', '-f', 'raw', '-O', 'raw', uri, to).code).to.equal(0);
      expect(readFileSync(lab.path('target')).equals(readFileSync(lab.path('source')))).to.equal(true);
    }
  });
});

describe('nbd: a job whose target says nothing', () => {
  let lab: NbdLab;
  let daemon: StorageDaemon;

  beforeEach(async () => {
    lab = new NbdLab();
    makeSource(lab.path('source'));
    daemon = await StorageDaemon.start(lab.path('qmp'), [], [process.execPath, await cliBundle(), 'daemon']);
  });
  afterEach(async () => {
    // The target is gone for good: nothing is to be flushed there.
    daemon.signal('SIGKILL');
    await daemon.end();
    await lab.close();
  });

  const JOBS = {
    // The guest waits because its place is being copied.
    'blockdev-mirror': { sync: 'full', 'copy-mode': 'write-blocking' },
    // The guest waits because the old content is saved first.
    'blockdev-backup': { sync: 'full' },
  };
  for (const [command, options] of Object.entries(JOBS)) {
    for (const reconnect of [0, 3600]) {
      it(`ends when it is cancelled by force, and lets the guest go on: ${command}, reconnect-delay ${reconnect}`, async () => {
        let asked: () => void = () => {};
        const request = new Promise<void>((resolve) => {
          asked = resolve;
        });
        const fake = await lab.fake(async (peer) => {
          await peer.negotiate({ size: SIZE });
          await peer.request();
          asked();
          await peer.gone();
        });
        const file = { driver: 'file', filename: lab.path('source') };
        const server = { type: 'unix', path: fake.path };
        await daemon.execute('blockdev-add', { driver: 'raw', 'node-name': 's', file });
        await daemon.execute('blockdev-add', { driver: 'nbd', 'node-name': 't', server, 'reconnect-delay': reconnect });
        const addr = { type: 'unix', data: { path: lab.path('nbd') } };
        await daemon.execute('nbd-server-start', { addr });
        await daemon.execute('block-export-add', { type: 'nbd', id: 'e', 'node-name': 's', name: 's', writable: true });
        await daemon.execute(command, { 'job-id': 'j', device: 's', target: 't', ...options });
        await request;
        const words = ['-f', 'raw', '-c', 'write -P 9 0 64k', `nbd+unix:///s?socket=${lab.path('nbd')}`];
        const guest = once(spawn('qemu-io', words, { stdio: 'ignore' }), 'exit');
        await daemon.execute('block-job-cancel', { device: 'j', force: true });
        await daemon.await('JOB_STATUS_CHANGE', { id: 'j', status: 'null' }, []);
        expect(await guest).to.deep.equal([0, null]);
        expect(readFileSync(lab.path('source')).subarray(0, 65536)).to.deep.equal(Buffer.alloc(65536, 9));
      });
    }
  }
});
