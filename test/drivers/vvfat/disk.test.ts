// A folder as a disk: what is read of it, and what is refused.

import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { expect } from 'chai';
import type { BlockNode } from '../../../src/block/node/node.js';
import { BlockError } from '../../../src/util/errors.js';
import { isZero } from '../../support/zeroes.js';
import { failureOf } from '../support.js';
import { bytesOf, FolderLab } from './lab.js';

/** Of the only file on a hard disk with FAT16: cluster 2. */
const FIRST_FILE = (63 + 1 + 2 * 252 + 32) * 512;

describe('vvfat: a folder as a disk', () => {
  let lab: FolderLab;
  beforeEach(() => {
    lab = new FolderLab();
  });
  afterEach(() => lab.close());

  const SIZES: readonly [object, number][] = [
    [{}, 528482304],
    [{ 'fat-type': 0 }, 528482304],
    [{ 'fat-type': 12 }, 33030144],
    [{ 'fat-type': 16 }, 528482304],
    [{ 'fat-type': 32 }, 528482304],
    [{ floppy: true }, 2949120],
    [{ floppy: true, 'fat-type': 12 }, 1474560],
    [{ floppy: true, 'fat-type': 16 }, 2949120],
  ];
  for (const [own, size] of SIZES) {
    it(`has ${size} bytes with ${JSON.stringify(own)}`, async () =>
      expect((await lab.open(own)).length).to.equal(size));
  }

  it('is only read', async () => {
    expect((await failureOf(lab.open({ 'read-only': false }))).code).to.equal('read-only');
    const node = await lab.open({ 'read-only': false, 'auto-read-only': true });
    expect(node.readOnly).to.equal(true);
    expect((await failureOf(node.reopen(false))).code).to.equal('read-only');
  });

  it('reads across tables, files and what lies between', async () => {
    const content = Buffer.alloc(20_000, 'content of a file, ');
    lab.write('disk/file', content);
    const node = await lab.open();
    const whole = await bytesOf(node, 0, FIRST_FILE + 65536);
    expect(Buffer.from(whole.subarray(FIRST_FILE, FIRST_FILE + 20_000)).equals(content)).to.equal(true);
    expect(isZero(whole.subarray(FIRST_FILE + 20_000))).to.equal(true);
    for (const [offset, length] of [
      [510, 4],
      [FIRST_FILE - 3, 7],
      [FIRST_FILE + 19_999, 3],
      [FIRST_FILE + 8191, 2],
    ]) {
      const part = await bytesOf(node, offset, length);
      expect([...part]).to.deep.equal([...whole.subarray(offset, offset + length)]);
    }
  });

  it('says where there are zeroes', async () => {
    lab.write('disk/file', 'x');
    const node = await lab.open();
    const data: number[][] = [];
    for (let at = 0; at < node.length; ) {
      const { length, zero } = await node.blockStatus(at, node.length - at);
      if (zero) expect(isZero(await bytesOf(node, at, Math.min(length, 65536)))).to.equal(true);
      else data.push([at, length]);
      at += length;
    }
    const fat = 64 * 512;
    expect(data).to.deep.equal([
      [0, 512],
      [63 * 512, 1024],
      [fat + 252 * 512, 512],
      [fat + 2 * 252 * 512, 512],
      [FIRST_FILE, 512],
    ]);
  });

  it('keeps few files open, whatever is read', async () => {
    for (let index = 0; index < 100; index++) lab.write(`disk/f${index}`);
    const node = await lab.open();
    await bytesOf(node, 0, FIRST_FILE + 100 * 8192);
    await Promise.all(Array.from({ length: 100 }, (_, index) => bytesOf(node, FIRST_FILE + index * 8192, 8)));
    const open = readdirSync('/proc/self/fd').filter((fd) => linkOf(fd).startsWith(`${lab.root}/disk/`));
    expect(open.length).to.be.within(1, 16);
  });

  describe('refuses', () => {
    const REFUSED: readonly [string, (lab: FolderLab) => void, object, string, RegExp][] = [
      [
        'a symbolic link',
        (l) => symlinkSync('/etc', l.path('disk/to-etc')),
        {},
        'unsupported',
        /to-etc.*symbolic link/,
      ],
      [
        'a pipe',
        (l) => execFileSync('mkfifo', [l.path('disk/pipe')]),
        {},
        'unsupported',
        /neither a file nor a folder/,
      ],
      [
        'a name that is not UTF-8',
        (l) => writeFileSync(Buffer.concat([Buffer.from(l.path('disk/')), Buffer.from([0x61, 0xff])]), ''),
        {},
        'unsupported',
        /not UTF-8/,
      ],
      [
        'more entries than a root directory has',
        (l) => Array.from({ length: 256 }, (_, index) => l.write(`disk/${index}`)),
        {},
        'limit',
        /too many entries in root directory: its names take 513, and it has room for 512/,
      ],
      [
        'files that do not fit',
        (l) => {
          l.write('disk/large');
          truncateSync(l.path('disk/large'), 600 << 20);
        },
        {},
        'limit',
        /^Directory does not fit in FAT16 \(capacity 516.06 MB\)$/,
      ],
      [
        'files that do not fit on a floppy',
        (l) => {
          l.write('disk/large');
          truncateSync(l.path('disk/large'), 2 << 20);
        },
        { floppy: true, 'fat-type': 12 },
        'limit',
        /^Directory does not fit in FAT12 \(capacity 1.44 MB\)$/,
      ],
      [
        'a type of FAT that there is not',
        () => undefined,
        { 'fat-type': 13 },
        'invalid-argument',
        /only 12, 16 and 32/,
      ],
      [
        'FAT32 on a floppy',
        () => undefined,
        { 'fat-type': 32, floppy: true },
        'unsupported',
        /too few sectors for FAT32/,
      ],
      ['a long label', () => undefined, { label: 'ABCDEFGHIJKL' }, 'invalid-argument', /longer than 11 bytes/],
      ['a label that is not ASCII', () => undefined, { label: 'é' }, 'invalid-argument', /ASCII/],
      ['rw of what is only read', () => undefined, { rw: true }, 'invalid-argument', /Unable to set VVFAT to 'rw'/],
      ['a folder that is not there', () => undefined, { dir: '/nonexistent/folder' }, 'not-found', /No such file/],
      ['a file', (l) => l.write('file'), { dir: '$/file' }, 'not-found', /Not a directory/],
    ];
    for (const [what, make, own, code, message] of REFUSED) {
      it(what, async () => {
        mkdirSync(lab.path('disk'));
        make(lab);
        const options = JSON.parse(JSON.stringify(own).replace('$', lab.root)) as object;
        const error = await failureOf(lab.open(options));
        expect([error.code, error.message]).to.satisfy(([is, text]: string[]) => is === code && message.test(text));
        expect(openBelow(lab.root)).to.deep.equal([]);
      });
    }
  });

  it('takes as many entries in the root as there are', async () => {
    for (let index = 0; index < 255; index++) lab.write(`disk/${index}`);
    await lab.open();
    lab.write('disk/last');
    await lab.open({ 'fat-type': 32 });
  });

  describe('where the folder changes underneath', () => {
    let node: BlockNode;
    const readFirst = () => bytesOf(node, FIRST_FILE, 512);
    beforeEach(async () => {
      lab.write('outside', 'secret');
      lab.write('disk/file', 'as it was');
      utimesSync(lab.path('disk/file'), 1e9, 1e9);
      node = await lab.open();
    });

    const CHANGES: readonly [string, (path: string) => void][] = [
      ['it has grown', (path) => appendFileSync(path, 'more')],
      ['it was cut', (path) => truncateSync(path, 1)],
      [
        'it was written to',
        (path) => {
          writeFileSync(path, 'as it is!');
          utimesSync(path, 1, 1);
        },
      ],
      ['it is gone', (path) => rmSync(path)],
      [
        'it is another file',
        (path) => {
          renameSync(path, `${path}-old`);
          writeFileSync(path, 'as it was');
          utimesSync(path, 1e9, 1e9);
        },
      ],
      [
        'it is a link to a file outside',
        (path) => {
          rmSync(path);
          symlinkSync(lab.path('outside'), path);
        },
      ],
      [
        'it is a pipe',
        (path) => {
          rmSync(path);
          execFileSync('mkfifo', [path]);
        },
      ],
    ];
    for (const [what, change] of CHANGES) {
      it(`says so of a file: ${what}`, async () => {
        change(lab.path('disk/file'));
        const error = await failureOf(readFirst());
        expect(error.code).to.equal('bad-state');
        expect(error.message).to.match(/disk\/file' has changed since its folder was opened as a disk/);
      });
    }

    it('says so of a file that was read before', async () => {
      expect(Buffer.from(await readFirst()).toString()).to.match(/^as it was\0/);
      appendFileSync(lab.path('disk/file'), 'more');
      expect((await failureOf(readFirst())).code).to.equal('bad-state');
    });

    it('reads nothing through a folder that has become a link', async () => {
      lab.write('other/disk2/sub/file', 'as it was');
      lab.write('disk2/sub/file', 'inside...');
      node = await lab.open({}, 'disk2');
      renameSync(lab.path('disk2/sub'), lab.path('disk2/away'));
      symlinkSync(lab.path('other/disk2/sub'), lab.path('disk2/sub'));
      // The folder is the first cluster, its file the second one.
      const error = await failureOf(bytesOf(node, FIRST_FILE + 8192, 512));
      expect(error).to.be.instanceOf(BlockError);
      expect(error.code).to.equal('bad-state');
    });

    it('reads on where the folder itself was renamed', async () => {
      renameSync(lab.path('disk'), lab.path('renamed'));
      mkdirSync(lab.path('disk'));
      expect(Buffer.from(await readFirst()).toString()).to.match(/^as it was\0/);
    });
  });
});

/** What this process has open below the folder. */
function openBelow(root: string): string[] {
  return readdirSync('/proc/self/fd')
    .map(linkOf)
    .filter((path) => path.startsWith(root));
}

function linkOf(fd: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    // The descriptor that listed the folder is closed by now.
    return '';
  }
}
