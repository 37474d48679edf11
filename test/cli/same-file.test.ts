// A target that is the source, by whatever name: nothing of it is changed.

import { execFileSync, spawnSync } from 'node:child_process';
import { closeSync, linkSync, openSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { cliBundle, Workshop } from '../support/cli.js';
import { leaveOut } from '../support/needs.js';

const VERBS: readonly (readonly string[])[] = [
  ['convert', '-f', 'raw', '-O', 'raw', 'd.raw', 'TARGET'],
  ['convert', '-f', 'raw', '-O', 'qcow2', 'd.raw', 'TARGET'],
  ['convert', '-n', '-f', 'raw', '-O', 'raw', 'd.raw', 'TARGET'],
  ['convert', '-U', '-f', 'raw', '-O', 'raw', 'd.raw', 'TARGET'],
  ['convert', '-U', '-n', '-f', 'raw', '-O', 'raw', 'd.raw', 'TARGET'],
  ['convert', '--image-opts', '-O', 'raw', 'driver=raw,file.filename=d.raw,file.locking=off', 'TARGET'],
  ['mirror', '-f', 'raw', '--target=TARGET', 'd.raw'],
  ['mirror', '-f', 'raw', '--format=raw', '--mode=existing', '--target=TARGET', 'd.raw'],
  ['backup', '-f', 'raw', '--target=TARGET', 'd.raw'],
  ['backup', '-f', 'raw', '--format=raw', '--mode=existing', '--target=TARGET', 'd.raw'],
  // The target is a file of the source's chain, or of its own.
  ['convert', '-O', 'raw', 'over.qcow2', 'TARGET'],
  ['convert', '-U', '-O', 'raw', 'over.qcow2', 'TARGET'],
  ['convert', '-n', '-U', '-O', 'raw', 'over.qcow2', 'TARGET'],
  ['mirror', '--target=TARGET', 'over.qcow2'],
  ['mirror', '--sync=top', '--target=TARGET', 'over.qcow2'],
  ['backup', '-U', '--target=TARGET', 'over.qcow2'],
];

describe('command line: a target that is the source', function () {
  this.timeout(60_000);
  let shop: Workshop;
  let content: Buffer;

  before(async () => {
    shop = await Workshop.open();
    content = Buffer.alloc(1 << 20, 'data');
    writeFileSync(shop.path('d.raw'), content);
    symlinkSync('d.raw', shop.path('symbolic'));
    linkSync(shop.path('d.raw'), shop.path('hard'));
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', 'd.raw', '-F', 'raw', 'over.qcow2');
  });
  after(() => shop.remove());

  for (const name of ['d.raw', './d.raw', 'symbolic', 'hard', 'file:hard']) {
    it(`is refused as ${name} and keeps its content`, () => {
      // Each verb once; each name by the verbs that replace, write to and copy beside.
      const verbs = name === 'hard' ? VERBS : [VERBS[0], VERBS[2], VERBS[6]];
      for (const words of verbs) {
        const typed = words.map((word) => word.replace('TARGET', name));
        if (typed.includes('-U') && typed[0] !== 'convert') typed.splice(typed.indexOf('-U'), 1);
        const { code, stderr } = shop.ours(...typed);
        expect(code, typed.join(' ')).to.equal(1);
        // convert has qemu-img's words, the jobs their own.
        const inChain = "'d.raw', which is in the backing chain of the source 'over.qcow2'";
        const what = typed.at(-1) === 'd.raw' ? "the source 'd.raw' itself" : inChain;
        if (typed[0] === 'convert') expect(stderr).to.include('Failed to get "write" lock');
        else expect(stderr).to.equal(`diskwright: The target '${name}' is ${what}\n`);
        expect(readFileSync(shop.path('d.raw')).equals(content), `${typed.join(' ')} changed it`).to.equal(true);
      }
    });
  }

  it('is refused where standard output goes to it', async () => {
    const bundle = await cliBundle();
    for (const words of [
      ['map', '-f', 'raw', '--output=json', 'd.raw'],
      ['info', 'hard'],
      ['convert', '-f', 'raw', '--progress=json', 'over.qcow2', 'd.raw'],
    ]) {
      const fd = openSync(shop.path('d.raw'), 'r+');
      const { status, stderr } = spawnSync(process.execPath, [bundle, ...words], {
        cwd: shop.folder,
        stdio: ['ignore', fd, 'pipe'],
        encoding: 'utf8',
      });
      closeSync(fd);
      expect(status, words.join(' ')).to.equal(1);
      expect(stderr).to.include('standard output goes to this file');
      expect(readFileSync(shop.path('d.raw')).equals(content), words.join(' ')).to.equal(true);
    }
  });

  it('is refused as the pid file of a server, and as its socket', () => {
    const socket = shop.path('s');
    for (const words of [
      ['-k', socket, '--pid-file', shop.path('hard')],
      ['-k', shop.path('hard')],
    ]) {
      const { code } = shop.ours('nbd', '-f', 'raw', ...words, 'd.raw');
      expect(code, words.join(' ')).to.equal(1);
      expect(readFileSync(shop.path('d.raw')).equals(content), words.join(' ')).to.equal(true);
    }
  });

  it('is not written to where standard error goes to it, not even an error', async () => {
    const fd = openSync(shop.path('d.raw'), 'r+');
    const words = [await cliBundle(), 'map', '-f', 'raw', 'd.raw'];
    const { status } = spawnSync(process.execPath, words, { cwd: shop.folder, stdio: ['ignore', 'ignore', fd] });
    closeSync(fd);
    expect(status).to.equal(1);
    expect(readFileSync(shop.path('d.raw')).equals(content)).to.equal(true);
  });

  describe('as a device', () => {
    let device = '';

    before(function () {
      const made = spawnSync('losetup', ['-f', '--show', shop.path('d.raw')], { encoding: 'utf8' });
      if (made.status !== 0) leaveOut(this, 'loop devices');
      device = made.stdout.trim();
    });
    after(() => {
      if (device !== '') execFileSync('losetup', ['-d', device]);
    });

    it('is refused, whatever the name of its node', () => {
      const [major, minor] = execFileSync('stat', ['-c', '%Hr %Lr', device], { encoding: 'utf8' }).trim().split(' ');
      execFileSync('mknod', [shop.path('other'), 'b', major, minor]);
      for (const words of [
        ['convert', '-U', '-n', '-f', 'raw', '-O', 'raw', device, 'other'],
        ['convert', '-U', '-f', 'raw', '-O', 'qcow2', device, 'other'],
      ]) {
        expect(shop.ours(...words).code, words.join(' ')).to.equal(1);
        expect(readFileSync(shop.path('d.raw')).equals(content), words.join(' ')).to.equal(true);
      }
    });
  });
});
