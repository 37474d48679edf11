// A folder as a disk, as other programs see it: qemu-img makes the same bytes of it, mtools reads what lies there, and fsck.fat finds nothing wrong.

import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, utimesSync, writeSync } from 'node:fs';
import { expect } from 'chai';
import { requirePeer } from '../../support/peers.js';
import { bytesOf, FolderLab, PARTITION_BYTES } from './lab.js';

interface Kind {
  name: string;
  own: { floppy?: boolean; 'fat-type'?: number };
}

const SAME_AS_QEMU: readonly Kind[] = [
  { name: 'fat:', own: {} },
  { name: 'fat:12:', own: { 'fat-type': 12 } },
  { name: 'fat:16:', own: { 'fat-type': 16 } },
  { name: 'fat:floppy:', own: { floppy: true } },
  { name: 'fat:12:floppy:', own: { floppy: true, 'fat-type': 12 } },
];
/** QEMU's disks of these kinds are read as others than they say. */
const OURS: readonly Kind[] = [
  { name: 'fat:32:', own: { 'fat-type': 32 } },
  { name: 'fat:16:floppy:', own: { floppy: true, 'fat-type': 16 } },
];

const ODD_NAMES = [
  ...[
    'Ünïcödé ☃ name.txt',
    'plus+[x].txt',
    'trail.',
    '.hidden',
    'CON',
    'trailspace ',
    '😀.txt',
    'UPPER.TXT',
    'UPPER.txt',
  ],
  ...[
    'a b.c d',
    'Aa',
    'aA',
    '.dot',
    'two.dots.txt',
    'thirteen.char',
    'back\\slash',
    'q?*"<>|',
    '~1',
    'x~1',
    '...',
    '  ',
  ],
  ...['é.txt', 'é', 'x. y', 'abcdefghijklmnopqrstuvwxyz', `${'n'.repeat(251)}.txt`],
];

/** Files whose last clusters are full: behind others, QEMU shows what lay there before. */
function makeFolder(lab: FolderLab, clusterBytes: number): Map<string, Buffer> {
  const files = new Map<string, Buffer>();
  const put = (name: string, bytes: number) => {
    const content = Buffer.alloc(bytes, `${name}: what is in it. `);
    files.set(name, content);
    lab.write(`disk/${name}`, content);
    // Each file has a time of its own. It was read tomorrow: the file system leaves that as it is when it is read.
    const tomorrow = Date.now() / 1000 + 86_400;
    utimesSync(lab.path('disk', name), tomorrow, 1_600_000_000 + files.size * 100_003);
  };
  for (const name of ODD_NAMES) put(name, clusterBytes);
  put('empty', 0);
  put('longer', 3 * clusterBytes);
  put('sub/deeper/deepest/file.txt', clusterBytes);
  for (let index = 0; index < 60; index++) put(`sub/some name ${index}.txt`, index < 20 ? clusterBytes : 0);
  mkdirSync(lab.path('disk/sub/empty folder'));
  return files;
}

const KINDS = [...SAME_AS_QEMU, ...OURS];

describe('vvfat: beside qemu-img', function () {
  this.timeout(120_000);
  let lab: FolderLab;
  before(function () {
    requirePeer(this, 'qemu-img');
  });
  beforeEach(() => {
    lab = new FolderLab();
  });
  afterEach(() => lab.close());

  for (const { name, own } of SAME_AS_QEMU) {
    it(`${name} is the same disk, byte for byte`, async () => {
      makeFolder(lab, 8192);
      const theirs = lab.path('theirs.raw');
      execFileSync('qemu-img', ['convert', '-O', 'raw', `${name}${lab.path('disk')}`, theirs]);
      const ours = await bytesOf(await lab.open(own));
      expect(Buffer.compare(ours, readFileSync(theirs))).to.equal(0);
    });
  }

  it('a label is the same, byte for byte', async () => {
    lab.write('disk/file', Buffer.alloc(8192, 'x'));
    const theirs = lab.path('theirs.raw');
    const options = `driver=vvfat,dir=${lab.path('disk')},floppy=on,label=My label`;
    execFileSync('qemu-img', ['convert', '-O', 'raw', '--image-opts', options, theirs]);
    const ours = await bytesOf(await lab.open({ floppy: true, label: 'My label' }));
    expect(Buffer.compare(ours, readFileSync(theirs))).to.equal(0);
  });
});

describe('vvfat: beside mtools and fsck.fat', function () {
  this.timeout(120_000);
  let lab: FolderLab;
  let disk: string;
  before(function () {
    for (const program of ['mcopy', 'fsck.fat']) requirePeer(this, program);
  });
  beforeEach(() => {
    lab = new FolderLab();
    disk = lab.path('disk.raw');
  });
  afterEach(() => lab.close());

  const environment = () => ({
    ...process.env,
    MTOOLS_SKIP_CHECK: '1',
    LC_ALL: 'C.UTF-8',
    PATH: `${process.env['PATH']}:/usr/sbin`,
  });
  const mtools = (...args: string[]) => execFileSync(args[0], ['-i', disk, ...args.slice(1)], { env: environment() });
  const fileSystem = async (own: Kind['own']) => {
    const node = await lab.open(own);
    const start = own.floppy ? 0 : PARTITION_BYTES;
    const out = openSync(disk, 'w');
    // Without the zeroes: a hard disk is large.
    for (let at = start; at < node.length; ) {
      const { length, zero } = await node.blockStatus(at, node.length - at);
      if (!zero) writeSync(out, await bytesOf(node, at, length), 0, length, at - start);
      at += length;
    }
    execFileSync('truncate', ['-s', String(node.length - start), disk]);
    closeSync(out);
  };

  for (const { name, own } of KINDS) {
    it(`${name} is read as it is`, async () => {
      const files = makeFolder(lab, 4096 + 17);
      // mtools has other names for these: it cannot show them.
      for (const odd of ['back\\slash', 'q?*"<>|', '...', '  ', 'trail.', 'trailspace ', 'aA', 'UPPER.txt', '😀.txt'])
        files.delete(odd);
      await fileSystem(own);
      execFileSync('fsck.fat', ['-n', disk], { env: environment() });
      const copy = lab.path('copy');
      mkdirSync(copy);
      mtools('mcopy', '-s', '-n', '-m', '-Q', '::/', copy);
      for (const [file, content] of files) {
        const read = readFileSync(`${copy}/${file}`);
        expect(read.equals(content), file).to.equal(true);
      }
    });
  }

  it('has the times that files have, in the local time', async () => {
    lab.write('disk/now', 'x');
    const at = new Date(2021, 5, 7, 8, 9, 10);
    utimesSync(lab.path('disk/now'), at, at);
    for (const [file, when] of [
      ['early', new Date(1970, 1, 1)],
      ['late', new Date(2200, 1, 1)],
    ] as const) {
      lab.write(`disk/${file}`, 'x');
      utimesSync(lab.path('disk', file), when, when);
    }
    await fileSystem({ floppy: true });
    const listed = mtools('mdir', '::').toString();
    expect(listed).to.match(/now\s+1 2021-06-07\s+8:09/i);
    expect(listed).to.match(/early\s+1 1980-01-01\s+0:00/i);
    expect(listed).to.match(/late\s+1 2107-12-31\s+23:59/i);
  });

  it('has directories of many clusters', async () => {
    for (let index = 0; index < 2000; index++) lab.write(`disk/sub/a rather long name of a file, ${index}`, '');
    await fileSystem({});
    execFileSync('fsck.fat', ['-n', disk], { env: environment() });
    const listed = mtools('mdir', '-b', '::/sub').toString();
    expect(listed.match(/a rather long name of a file/g)?.length).to.equal(2000);
  });
});
