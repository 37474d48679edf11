// Names of layers, empty names, and overlays on a disk that runs: what qemu-img finds, refuses and makes, we do.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { expect } from 'chai';
import { asOurs, Workshop } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';

describe('names of layers and of backing files, beside qemu-img', function () {
  this.timeout(60_000);
  let shop: Workshop;

  before(async function () {
    for (const peer of ['qemu-img', 'qemu-io']) requirePeer(this, peer);
    shop = await Workshop.open();
    mkdirSync(shop.path('d'));
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', 'd/b', '1M');
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', 'b', '-F', 'qcow2', 'd/m');
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', 'm', '-F', 'qcow2', 'd/c');
    shop.qemuIo('d/c', 'write -q -P 1 0 64k');
    symlinkSync('d/b', shop.path('link'));
    symlinkSync('b', shop.path('d/link'));
  });
  after(() => shop.remove());

  const names = [
    'b',
    './b',
    'd/b',
    './d/b',
    '../d/b',
    'd//b',
    'm',
    'd/m',
    'link',
    'nosuch',
    '',
    'c',
    'd/c',
    'file:d/b',
  ];
  for (const name of [...names, 'ABSOLUTE']) {
    it(`commit -b '${name}' finds the layer that qemu-img finds, or none`, () => {
      const base = name === 'ABSOLUTE' ? shop.path('d/b') : name;
      const outcomes = ['ours', 'theirs'].map((side) => {
        rmSync(shop.path(side), { recursive: true, force: true });
        cpSync(shop.path('d'), shop.path('kept'), { recursive: true, verbatimSymlinks: true });
        const words = ['commit', '-q', '-b', base, 'd/c'];
        const outcome = side === 'ours' ? shop.ours(...words) : asOurs(shop.qemuImg(...words));
        rmSync(shop.path('d'), { recursive: true });
        cpSync(shop.path('kept'), shop.path('d'), { recursive: true, verbatimSymlinks: true });
        rmSync(shop.path('kept'), { recursive: true });
        return outcome;
      });
      expect(outcomes[0]).to.deep.equal(outcomes[1]);
    });
  }

  it('stream --base takes the same names', () => {
    expect(shop.ours('stream', '-q', '--base=d/b', 'd/c').stderr).to.contain("Did not find 'd/b' in the backing chain");
    expect(shop.ours('stream', '-q', '--base=./b', 'd/c')).to.include({ code: 0, stderr: '' });
  });

  for (const words of [
    ['create', '-f', 'qcow2', '-b', '', '-F', 'qcow2', 'x'],
    ['create', '-f', 'qcow2', '-u', '-b', '', '-F', 'qcow2', 'x', '1M'],
    ['create', '-f', 'qcow2', '-o', 'backing_file=', 'x', '1M'],
    ['create', '-f', 'qcow2', '-b', 'd/b', '-F', '', 'x'],
    ['create', '-f', 'qcow2', '-F', '', 'x', '1M'],
    ['create', '-f', '', 'x', '1M'],
    ['create', '-f', 'qcow2', '', '1M'],
    ['create', '-f', 'qcow2', 'x', ''],
    ['create', '-f', 'qcow2', '-o', '', 'x', '1M'],
    ['create', '-f', 'qcow2', '-o', 'size=1M,', 'x'],
    ['convert', 'd/b', ''],
    ['convert', '-O', '', 'd/b', 'x'],
    ['convert', '-O', 'qcow2', '-o', ',', 'd/b', 'x'],
    ['info', '-f', '', 'd/b'],
    ['compare', 'd/b', ''],
    ['commit', ''],
  ]) {
    it(`${words.map((word) => word || "''").join(' ')} is refused in the words of qemu-img`, () => {
      const theirs = asOurs(shop.qemuImg(...words));
      expect(theirs.code).to.not.equal(0);
      expect(shop.ours(...words)).to.deep.equal(theirs);
    });
  }

  it('an overlay is made on an image that another program writes to, raw or qcow2', async () => {
    for (const format of ['qcow2', 'raw']) {
      shop.must('qemu-img', 'create', '-q', '-f', format, `live.${format}`, '1M');
      const guest = await holdOpen(shop, format);
      try {
        const words = ['create', '-q', '-f', 'qcow2', '-b', `live.${format}`, '-F', format];
        expect(shop.ours(...words, 'over')).to.deep.equal(asOurs(shop.qemuImg(...words, 'theirs')));
        for (const verb of [
          ['info', '-U', '--backing-chain', 'over'],
          ['info', '--backing-chain', 'over'],
          ['map', '-U', 'over'],
          ['map', 'over'],
        ]) {
          const [ours, theirs] = [shop.ours(...verb), shop.qemuImg(...verb)];
          expect(ours.code, `${format} ${verb.join(' ')}: ${ours.stderr}${theirs.stderr}`).to.equal(theirs.code);
        }
      } finally {
        guest.stdin!.end('quit\n');
        await once(guest, 'exit');
      }
    }
  });
});

/** qemu-io that has the image open for writing. */
async function holdOpen(shop: Workshop, format: string): Promise<ChildProcess> {
  const guest = spawn('qemu-io', ['-f', format, `live.${format}`], {
    cwd: shop.folder,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  guest.stdin.write('write -P 1 0 64k\n');
  for await (const text of guest.stdout) if (String(text).includes('wrote')) break;
  return guest;
}
