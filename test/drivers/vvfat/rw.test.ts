// What is written to the disk comes to the folder. mtools changes a copy of the disk, as a machine would; the sectors that it has changed are written to the disk, which
// is flushed; and the folder is compared.

import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { expect } from 'chai';
import { requirePeer } from '../../support/peers.js';
import { failureOf } from '../support.js';
import { bytesOf, FolderLab, filesBelow, Machine, PARTITION_BYTES, withoutImage } from './lab.js';

describe('vvfat: a disk that is written to', function () {
  this.timeout(60_000);
  let lab: FolderLab;
  before(function () {
    for (const program of ['mcopy', 'fsck.fat']) requirePeer(this, program);
  });
  beforeEach(() => {
    lab = new FolderLab();
    mkdirSync(lab.path('disk'));
    lab.write('outside', 'not ours');
  });
  afterEach(async () => {
    await lab.close();
  });

  const text = (name: string) => readFileSync(lab.path('disk', name), 'utf8');
  const files = () => filesBelow(lab.path('disk'));
  const machine = (own: object = { floppy: true }) => Machine.start(lab, own);

  const KINDS: readonly object[] = [
    { floppy: true },
    { floppy: true, 'fat-type': 12 },
    { floppy: true, 'fat-type': 16 },
    { 'fat-type': 12 },
    { 'fat-type': 32 },
  ];
  for (const own of KINDS) {
    it(`has new, changed, renamed and removed files and folders in it: ${JSON.stringify(own)}`, async () => {
      lab.write('disk/stays', 'as it was');
      lab.write('disk/goes', 'away');
      lab.write('disk/changes.txt', 'before');
      lab.write('disk/Old name of a file.txt', 'moved '.repeat(3000));
      lab.write('disk/sub/deeper/one', 'one');
      lab.write('disk/gone/a/b', 'b');
      lab.write('new', 'new '.repeat(10_000));
      lab.write('changed', 'after '.repeat(4000));
      const pc = await machine(own);
      pc.mtools('mcopy', lab.path('new'), '::/A new file with a long name.dat');
      pc.mtools('mcopy', '-o', lab.path('changed'), '::/changes.txt');
      pc.mtools('mdel', '::/goes');
      pc.mtools('mmd', '::/Made', '::/Made/inner');
      pc.mtools('mcopy', lab.path('new'), '::/Made/inner/file');
      pc.mtools('mmove', '::/Old name of a file.txt', '::/sub/deeper/New name.txt');
      pc.mtools('mdeltree', '::/gone');
      await pc.flush();
      expect(files()).to.deep.equal({
        stays: 'as it was',
        'changes.txt': 'after '.repeat(4000),
        'A new file with a long name.dat': 'new '.repeat(10_000),
        'Made/': '',
        'Made/inner/': '',
        'Made/inner/file': 'new '.repeat(10_000),
        'sub/': '',
        'sub/deeper/': '',
        'sub/deeper/one': 'one',
        'sub/deeper/New name.txt': 'moved '.repeat(3000),
      });
      expect(readFileSync(lab.path('outside'), 'utf8')).to.equal('not ours');
      // The machine sees the disk as it wrote it, and a later machine the folder.
      await pc.expectSame();
      await pc.stop();
      const later = await machine(own);
      later.check();
      expect(later.mtools('mtype', '::/sub/deeper/New name.txt')).to.equal('moved '.repeat(3000));
    });
  }

  it('leaves what has not changed untouched', async () => {
    lab.write('disk/a', 'a');
    lab.write('disk/b', 'b');
    const before = statSync(lab.path('disk/a'));
    const pc = await machine();
    pc.mtools('mdel', '::/b');
    await pc.flush();
    const { ino, mtimeMs, ctimeMs } = statSync(lab.path('disk/a'));
    expect({ ino, mtimeMs, ctimeMs }).to.deep.equal({
      ino: before.ino,
      mtimeMs: before.mtimeMs,
      ctimeMs: before.ctimeMs,
    });
  });

  it('reads as before where files have gone or moved, however many', async () => {
    for (let index = 0; index < 60; index++) lab.write(`disk/file ${index}`, `content of ${index}`);
    const pc = await machine();
    for (let index = 0; index < 60; index++) {
      if (index % 3 === 0) pc.mtools('mdel', `::/file ${index}`);
      else if (index % 3 === 1) pc.mtools('mren', `::/file ${index}`, `::/moved ${index}`);
      else if (index < 10) pc.copyOver(`file ${index}`);
    }
    await pc.flush();
    expect(Object.keys(files())).to.have.length(40);
    // What was in files that have gone still lies in free clusters.
    await pc.expectSame();
  });

  it('writes once what has changed once', async () => {
    lab.write('disk/a', 'a');
    lab.write('disk/b', 'b');
    const pc = await machine();
    pc.copyOver('a');
    await pc.flush();
    const { ino, ctimeMs } = statSync(lab.path('disk/a'));
    pc.copyOver('b');
    await pc.flush();
    const after = statSync(lab.path('disk/a'));
    expect([after.ino, after.ctimeMs]).to.deep.equal([ino, ctimeMs]);
  });

  it('keeps the permissions of a file that is changed, and moves one as it is', async () => {
    lab.write('disk/script', '#!/bin/sh\n');
    lab.write('disk/moved', 'moved');
    chmodSync(lab.path('disk/script'), 0o751);
    chmodSync(lab.path('disk/moved'), 0o640);
    lab.write('changed', '#!/bin/bash\n');
    const { ino } = statSync(lab.path('disk/moved'));
    const pc = await machine();
    pc.mtools('mcopy', '-o', lab.path('changed'), '::/script');
    pc.mtools('mren', '::/moved', '::/renamed to.this');
    await pc.flush();
    expect(text('script')).to.equal('#!/bin/bash\n');
    expect(statSync(lab.path('disk/script')).mode & 0o7777).to.equal(0o751);
    expect(statSync(lab.path('disk/renamed to.this'))).to.include({ ino, mode: 0o100640 });
  });

  it('has the times that the machine gave', async () => {
    lab.write('disk/touched', 'x');
    const at = new Date(2019, 2, 3, 4, 5, 6);
    lab.write('dated', 'dated');
    utimesSync(lab.path('dated'), at, at);
    const pc = await machine();
    pc.mtools('mcopy', '-m', lab.path('dated'), '::/dated');
    await pc.flush();
    expect(statSync(lab.path('disk/dated')).mtime).to.deep.equal(at);
    expect(text('touched')).to.equal('x');
  });

  // mtools gives short names alone where these are enough: in capital letters.
  it('swaps names', async () => {
    for (const name of ['A', 'B', 'C']) lab.write(`disk/${name}`, `${name} of old`);
    const pc = await machine();
    for (const [from, to] of [
      ['A', 'TMP'],
      ['B', 'A'],
      ['C', 'B'],
      ['TMP', 'C'],
    ]) {
      pc.mtools('mren', `::/${from}`, `::/${to}`);
    }
    await pc.flush();
    expect(files()).to.deep.equal({ A: 'B of old', B: 'C of old', C: 'A of old' });
    await pc.expectSame();
  });

  it('puts a folder where a file was, and a file where a folder was', async () => {
    lab.write('disk/FILE', 'to be a folder');
    lab.write('disk/FOLDER/INNER', 'to be out of it');
    lab.write('new', 'new');
    const pc = await machine();
    pc.mtools('mmove', '::/FOLDER/INNER', '::/OUTER');
    pc.mtools('mrd', '::/FOLDER');
    pc.mtools('mcopy', lab.path('new'), '::/FOLDER');
    pc.mtools('mmove', '::/FILE', '::/ASIDE');
    pc.mtools('mmd', '::/FILE');
    pc.mtools('mmove', '::/ASIDE', '::/FILE/INNER');
    await pc.flush();
    const all = { FOLDER: 'new', 'FILE/': '', 'FILE/INNER': 'to be a folder', OUTER: 'to be out of it' };
    expect(files()).to.deep.equal(all);
    await pc.expectSame();
  });

  it('comes to the folder at each flush, and when the disk is closed', async () => {
    const pc = await machine();
    for (let round = 0; round < 4; round++) {
      lab.write('new', `round ${round} `.repeat(100 * (round + 1)));
      pc.mtools('mcopy', '-o', lab.path('new'), '::/file');
      pc.mtools('mcopy', lab.path('new'), `::/file ${round}`);
      await pc.flush();
      expect(text('file')).to.equal(readFileSync(lab.path('new'), 'utf8'));
    }
    pc.mtools('mdel', '::/file 0', '::/file 2');
    await pc.write();
    expect(existsSync(lab.path('disk/file 0'))).to.equal(true);
    await pc.stop();
    expect(Object.keys(files()).sort()).to.deep.equal(['file', 'file 1', 'file 3']);
  });

  it('does nothing at a flush without a write', async () => {
    const pc = await machine();
    lab.write('disk/appeared', 'meanwhile');
    await pc.flush();
    expect(files()).to.deep.equal({ appeared: 'meanwhile' });
  });

  it('has names that no 8.3 has', async () => {
    lab.write('new', 'x');
    const pc = await machine();
    for (const name of ['Ünïcödé ☃.txt', 'small.txt', 'BIG.TXT', `${'long '.repeat(40)}.txt`, '.hidden']) {
      pc.mtools('mcopy', lab.path('new'), `::/${name}`);
    }
    await pc.flush();
    expect(Object.keys(files()).sort()).to.deep.equal(
      ['Ünïcödé ☃.txt', 'small.txt', 'BIG.TXT', `${'long '.repeat(40)}.txt`, '.hidden'].sort(),
    );
  });

  it('leaves nothing else in the folder, and nothing open', async () => {
    lab.write('new', 'x');
    const pc = await machine();
    expect(readdirSync(lab.path('disk'))).to.deep.equal([]);
    pc.mtools('mcopy', lab.path('new'), '::/x');
    await pc.flush();
    await pc.stop();
    expect(readdirSync(lab.path('disk'))).to.deep.equal(['x']);
  });

  it('keeps its partition where a machine marks it otherwise, and no other one', async () => {
    lab.write('disk/FILE', 'the content');
    const node = await lab.open({ rw: true, 'read-only': false, 'fat-type': 12 });
    const write = async (offset: number, bytes: readonly number[]) => {
      const start = offset - (offset % 512);
      const sector = await bytesOf(node, start, 512);
      sector.set(bytes, offset - start);
      await node.write(start, sector);
    };
    const content = Buffer.from(await bytesOf(node, PARTITION_BYTES, 1 << 20)).indexOf('the content') + PARTITION_BYTES;
    // Not active, and other cylinders, heads and sectors.
    await write(0x1be, [0x00, 9, 9, 9]);
    await write(0x1be + 5, [9, 9, 9]);
    await write(content, [0x21]);
    await node.flush();
    expect(text('FILE')).to.equal('!he content');
    for (const at of [4, 8, 12]) {
      const [old] = await bytesOf(node, 0x1be + at, 1);
      await write(0x1be + at, [old ^ 0x80]);
      await write(content, [0x3f]);
      await node.flush();
      expect(text('FILE'), String(at)).to.equal('!he content');
      await write(0x1be + at, [old]);
      await write(content, [0x21]);
    }
    await lab.shut(node);
  });

  describe('with names that differ in the case of letters only', () => {
    for (const [one, other] of [
      ['Aa', 'aA'],
      ['UPPER.TXT', 'upper.txt'],
      ['été', 'ÉTÉ'],
    ]) {
      it(`is refused: ${one}, ${other}`, async () => {
        lab.write(`disk/sub/${one}`);
        lab.write(`disk/sub/${other}`);
        const error = await failureOf(machine());
        expect(error.code).to.equal('unsupported');
        expect(error.message).to.match(/differ in the case of letters only/);
        expect(readdirSync(lab.path('disk/sub'))).to.have.length(2);
        // Where it is only read, each is found by one of its names.
        await lab.open({ floppy: true });
      });
    }

    it('is not, where they lie in two folders', async () => {
      lab.write('disk/a/NAME');
      lab.write('disk/b/name');
      lab.write('disk/groß');
      lab.write('disk/GROSS');
      await (await machine()).stop();
    });
  });

  describe('where the folder was changed by another program', () => {
    const CHANGES: readonly [string, (disk: string) => void, (pc: Machine) => void][] = [
      ['a file that is changed', (disk) => appendFileSync(`${disk}/file`, 'more'), (pc) => pc.copyOver('file')],
      [
        'a file that is removed',
        (disk) => appendFileSync(`${disk}/file`, 'more'),
        (pc) => pc.mtools('mdel', '::/file'),
      ],
      [
        'a file that is renamed',
        (disk) => appendFileSync(`${disk}/file`, 'more'),
        (pc) => pc.mtools('mren', '::/file', '::/f'),
      ],
      ['a file that is new', (disk) => writeFileSync(`${disk}/new`, 'theirs'), (pc) => pc.copyOver('new')],
      ['a folder that is new', (disk) => writeFileSync(`${disk}/made`, 'theirs'), (pc) => pc.mtools('mmd', '::/made')],
      [
        'a folder that is removed',
        (disk) => writeFileSync(`${disk}/folder/theirs`, 'theirs'),
        (pc) => pc.mtools('mdeltree', '::/folder'),
      ],
    ];
    for (const [what, theirs, ours] of CHANGES) {
      it(`changes nothing: ${what}`, async () => {
        lab.write('disk/file', 'as it was');
        lab.write('disk/folder/inner', 'inner');
        lab.write('disk/other', 'other');
        const pc = await machine();
        pc.mtools('mdel', '::/other');
        ours(pc);
        theirs(lab.path('disk'));
        const before = files();
        const error = await failureOf(pc.flush());
        expect(error.code).to.equal('bad-state');
        expect(error.message).to.match(/was changed by another program/);
        expect(files()).to.deep.equal(before);
        expect((await failureOf(pc.stop())).code).to.equal('bad-state');
        expect(withoutImage(files())).to.deep.equal(before);
      });
    }
  });
});
