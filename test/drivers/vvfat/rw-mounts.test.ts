// What is mounted below the folder, also from the same file system: nothing can be renamed there, so a disk that is written to is refused before anything changes.

import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { expect } from 'chai';
import { mountsBelow } from '../../../src/host/real/mounts.js';
import { leaveOut } from '../../support/needs.js';
import { requirePeer } from '../../support/peers.js';
import { failureOf } from '../support.js';
import { FolderLab, filesBelow, Machine } from './lab.js';

const RW = { floppy: true, rw: true, 'read-only': false };

describe('vvfat: what is mounted below the folder', function () {
  this.timeout(60_000);
  let lab: FolderLab;
  let mounted: string[] = [];
  before(function () {
    requirePeer(this, 'mcopy');
    if (process.getuid?.() !== 0 || spawnSync('mount', ['--bind', '/mnt', '/mnt']).status !== 0)
      leaveOut(this, 'mounts');
    execFileSync('umount', ['/mnt']);
  });
  beforeEach(() => {
    lab = new FolderLab();
    mounted = [];
    lab.write('disk/a folder/file of it', 'content');
    lab.write('disk/inner one/at', 'covered');
    lab.write('elsewhere/of it', 'elsewhere');
  });
  afterEach(async () => {
    for (const path of mounted) execFileSync('umount', [path]);
    await lab.close();
  });

  const bind = (from: string, to: string) => {
    execFileSync('mount', ['--bind', lab.path(from), lab.path(to)]);
    mounted.push(lab.path(to));
  };
  const refusal = (name: string) => [
    'unsupported',
    `'${lab.path(name)}' is mounted from elsewhere, which 'rw' cannot take`,
  ];

  for (const [what, from, to] of [
    ['a folder', 'elsewhere', 'disk/inner one'],
    ['a file', 'elsewhere/of it', 'disk/inner one/at'],
  ]) {
    it(`is refused where it is ${what} of the same file system, and shown where nothing is written`, async () => {
      bind(from, to);
      const error = await failureOf(lab.open(RW));
      expect([error.code, error.message]).to.deep.equal(refusal(to));
      await lab.open({ floppy: true });
    });
  }

  it('is found where it was mounted after the disk was opened: the flush changes nothing', async () => {
    const pc = await Machine.start(lab, { floppy: true });
    pc.mtools('mmove', '::/a folder/file of it', '::/inner one/file of it');
    bind('elsewhere', 'disk/inner one');
    const before = filesBelow(lab.path('disk'));
    const error = await failureOf(pc.flush());
    expect([error.code, error.message]).to.deep.equal(refusal('disk/inner one'));
    expect(filesBelow(lab.path('disk'))).to.deep.equal(before);
    execFileSync('umount', [mounted.pop()!]);
    await pc.flush();
    expect(filesBelow(lab.path('disk'))).to.include({ 'inner one/file of it': 'content' });
  });

  it('does not count where it is the folder itself, or beside it', async () => {
    mkdirSync(lab.path('disk beside'));
    bind('elsewhere', 'disk beside');
    bind('disk', 'disk');
    await lab.shut(await lab.open(RW));
  });
});

describe('vvfat: the list of mounts', () => {
  it('is read with spaces, other characters, and names that begin alike', () => {
    const lines = ['/a', '/a/b\\040c', '/a/b\\040c/d\\134e', '/ab', '/a/\u00e9', '/'];
    const text = lines.map((path, at) => `${at} 1 8:1 / ${path} rw shared:1 - ext4 /dev/x rw`).join('\n');
    const found = mountsBelow(Buffer.from('/a'), Buffer.from(`${text}\n`));
    expect(found).to.deep.equal([['b c'], ['b c', 'd\\e'], ['\u00e9']]);
    expect(mountsBelow(Buffer.from('/'), Buffer.from(text))).to.have.length(5);
  });
});
