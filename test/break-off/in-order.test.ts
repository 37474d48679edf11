// A signal while an image is changed in its place: what takes less than a second is done and closed in order, with its bitmaps, and the program dies by the signal.

import { type SpawnSyncReturns, spawn, spawnSync } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { cpSync, existsSync, mkdirSync } from 'node:fs';
import { createServer } from 'node:net';
import { expect } from 'chai';
import { Workshop } from '../support/cli.js';
import { diedBy } from '../support/ended.js';
import { requirePeer } from '../support/peers.js';
import { brokenAt, makeLibrary } from './library.js';

const DONE = 'diskwright: Interrupted after the work was done.\n';
const MiB = 1 << 20;

interface Found {
  size: number;
  bitmaps: { name: string; flags: string[] }[];
}

describe('a signal while an image is changed in its place', function () {
  this.timeout(120_000);
  let shop: Workshop;
  let library: string;
  let runs = 0;

  before(async function () {
    for (const peer of ['qemu-img', 'qemu-io']) requirePeer(this, peer);
    shop = await Workshop.open();
    library = makeLibrary(shop.folder);
    mkdirSync(shop.path('origin'));
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', 'origin/disk', '4M');
    shop.must('qemu-img', 'snapshot', '-c', 'first', 'origin/disk');
    shop.must('qemu-img', 'resize', '-q', 'origin/disk', '6M');
    shop.must('qemu-img', 'bitmap', '--add', 'origin/disk', 'bits');
    shop.qemuIo('origin/disk', 'write -q -P 2 0 1M');
  });
  after(() => shop?.remove());

  /** Runs a command on a copy of the image; a SIGINT comes at its `nth` call. */
  function signalled(words: readonly string[], nth: number): { ended: SpawnSyncReturns<string>; found: Found } {
    const folder = shop.path(`run${++runs}`);
    cpSync(shop.path('origin'), folder, { recursive: true });
    const env = brokenAt(library, folder, 'int', nth, `${folder}.hit`);
    const ended = spawnSync(process.execPath, [shop.bundle, ...words], { cwd: folder, env, encoding: 'utf8' });
    expect(existsSync(`${folder}.hit`), 'the call was reached').to.equal(true);
    const info = JSON.parse(shop.must('qemu-img', 'info', '--output=json', `${folder}/disk`));
    const bitmaps = info['format-specific'].data.bitmaps ?? [];
    shop.must('qemu-img', 'check', '-q', `${folder}/disk`);
    return { ended, found: { size: info['virtual-size'], bitmaps } };
  }

  for (const [words, size, flags] of [
    [['snapshot', '-a', 'first', 'disk'], 4 * MiB, ['auto']],
    [['resize', '-q', 'disk', '8M'], 8 * MiB, ['auto']],
    [['resize', '-q', '--shrink', 'disk', '5M'], 5 * MiB, ['auto']],
    [['amend', '-o', 'size=8M', 'disk'], 8 * MiB, ['auto']],
    [['bitmap', '--disable', 'disk', 'bits'], 6 * MiB, []],
    [['rebase', '-u', '-b', '', 'disk'], 6 * MiB, ['auto']],
  ] as const) {
    it(`does not keep ${words.slice(0, -1).join(' ')} from storing its bitmaps`, () => {
      for (const nth of [1, 8]) {
        const { ended, found } = signalled(words, nth);
        expect([ended.status, ended.signal], `call ${nth}`).to.deep.equal(diedBy('SIGINT'));
        expect(ended.stderr).to.equal(DONE);
        expect(found.size).to.equal(size);
        expect(found.bitmaps.map((bitmap) => bitmap.flags)).to.deep.equal([flags]);
      }
    });
  }

  it('is not waited for longer than a second: a server that does not answer', async () => {
    const came = new EventEmitter();
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      came.emit('client');
    });
    await once(server.listen(shop.path('silent.sock')), 'listening');
    try {
      const client = once(came, 'client');
      const words = ['resize', '-f', 'raw', `nbd+unix:///?socket=${shop.path('silent.sock')}`, '8M'];
      const child = spawn(process.execPath, [shop.bundle, ...words], { stdio: ['ignore', 'ignore', 'pipe'] });
      let said = '';
      child.stderr.setEncoding('utf8').on('data', (text: string) => {
        said += text;
      });
      await client;
      child.kill('SIGINT');
      expect(await once(child, 'close')).to.deep.equal(diedBy('SIGINT'));
      expect(said).to.match(/^diskwright: Interrupted\. 'nbd.*' has its old size or its new one.*\.\n$/);
    } finally {
      server.close();
    }
  });
});
