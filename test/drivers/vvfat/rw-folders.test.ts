// Folders that a machine renames and moves are renamed in the folder: they stay the same ones, with their owner, permissions, and all that a disk does not know of.

import { chmodSync, mkdirSync, renameSync, statSync } from 'node:fs';
import { expect } from 'chai';
import { seeded } from '../../interop/chain-maker.js';
import { seedsOf, spanOf } from '../../support/sample.js';
import { failureOf } from '../support.js';
import { FolderLab, filesBelow, Machine, useMachineLab } from './lab.js';

describe('vvfat: folders that are renamed', function () {
  this.timeout(120_000);
  let lab: FolderLab;
  useMachineLab((made) => {
    lab = made;
  });

  const inode = (name: string) => statSync(lab.path('disk', name)).ino;
  const files = () => filesBelow(lab.path('disk'));
  const start = () => Machine.start(lab, { floppy: true });

  it('stay the same, with their files, and a set-gid bit', async () => {
    lab.write('disk/old name of it/deep inside/file of it', 'content');
    chmodSync(lab.path('disk/old name of it'), 0o2750);
    const names = ['old name of it', 'old name of it/deep inside', 'old name of it/deep inside/file of it'];
    const before = names.map(inode);
    const changed = statSync(lab.path('disk', names[2])).ctimeMs;
    const pc = await start();
    pc.mtools('mren', '::/old name of it', '::/new name of it');
    await pc.flush();
    const now = names.map((name) => name.replace('old', 'new'));
    expect(now.map(inode)).to.deep.equal(before);
    expect(statSync(lab.path('disk', now[0])).mode & 0o7777).to.equal(0o2750);
    expect(statSync(lab.path('disk', now[2])).ctimeMs).to.equal(changed);
    await pc.expectSame();
    // The disk is read from where the file is now, and what changes next is found.
    pc.copyOver('new name of it/deep inside/file of it');
    await pc.flush();
    expect(files()).to.include({ 'new name of it/deep inside/file of it': `what the machine has put into ${now[2]}` });
  });

  it('have new, changed and removed files in them', async () => {
    for (const name of ['stays so', 'changes so', 'goes so', 'moves so']) lab.write(`disk/the folder/${name}`, name);
    const before = inode('the folder');
    const pc = await start();
    pc.mtools('mmd', '::/one around');
    pc.mtools('mmove', '::/the folder', '::/one around/its new name');
    const inside = (name: string) => `one around/its new name/${name}`;
    pc.copyOver(inside('changes so'));
    pc.copyOver(inside('new one of it'));
    pc.mtools('mdel', `::/${inside('goes so')}`);
    pc.mtools('mren', `::/${inside('moves so')}`, '::/has moved so');
    await pc.flush();
    expect(files()).to.deep.equal({
      'one around/': '',
      'one around/its new name/': '',
      [inside('stays so')]: 'stays so',
      [inside('changes so')]: `what the machine has put into ${inside('changes so')}`,
      [inside('new one of it')]: `what the machine has put into ${inside('new one of it')}`,
      'has moved so': 'moves so',
    });
    expect(inode('one around/its new name')).to.equal(before);
  });

  it('swap names, and change places with those that they lie in', async () => {
    for (const name of ['first folder', 'second folder', 'outer one/inner one'])
      lab.write(`disk/${name}/file of it`, name);
    const [first, second, outer, inner] = ['first folder', 'second folder', 'outer one', 'outer one/inner one'].map(
      inode,
    );
    const pc = await start();
    pc.mtools('mren', '::/first folder', '::/for a while');
    pc.mtools('mren', '::/second folder', '::/first folder');
    pc.mtools('mren', '::/for a while', '::/second folder');
    pc.mtools('mmove', '::/outer one/inner one', '::/for a while');
    pc.mtools('mmove', '::/outer one', '::/for a while/inner one');
    pc.mtools('mren', '::/for a while', '::/outer one');
    await pc.flush();
    expect(files()).to.deep.equal({
      'first folder/': '',
      'first folder/file of it': 'second folder',
      'second folder/': '',
      'second folder/file of it': 'first folder',
      'outer one/': '',
      'outer one/file of it': 'outer one/inner one',
      'outer one/inner one/': '',
    });
    expect(['second folder', 'first folder', 'outer one/inner one', 'outer one'].map(inode)).to.deep.equal([
      ...[first, second, outer, inner],
    ]);
  });

  it('take the place of a file, or of a folder that goes: then they are made anew', async () => {
    lab.write('disk/place of file', 'a file');
    lab.write('disk/place of folder/goes so', 'goes');
    lab.write('disk/one folder/file of it', 'one');
    lab.write('disk/two folder/file of it', 'two');
    const pc = await start();
    pc.mtools('mdel', '::/place of file');
    pc.mtools('mren', '::/one folder', '::/place of file');
    pc.mtools('mdeltree', '::/place of folder');
    pc.mtools('mren', '::/two folder', '::/place of folder');
    await pc.flush();
    expect(files()).to.deep.equal({
      'place of file/': '',
      'place of file/file of it': 'one',
      'place of folder/': '',
      'place of folder/file of it': 'two',
    });
    await pc.expectSame();
  });

  it('are not renamed where another program has put another one there, or something in their new place', async () => {
    lab.write('disk/the folder/file of it', 'content');
    const pc = await start();
    pc.mtools('mren', '::/the folder', '::/its new name');
    lab.write('disk/its new name', 'of another program');
    const error = await failureOf(pc.flush());
    expect([error.code, error.message]).to.deep.equal([
      'bad-state',
      `'${lab.path('disk/its new name')}' was changed by another program while its folder is a disk that is written to: nothing more is written there`,
    ]);
    expect(files()).to.deep.equal({
      'its new name': 'of another program',
      'the folder/': '',
      'the folder/file of it': 'content',
    });
  });

  /** Calls `theirs` before the first name changes, once; resolves with what the flush fails with, behind `ours`. */
  async function failureAt(ours: (pc: Machine) => void, theirs: () => void): Promise<string> {
    let act: (() => void) | null = null;
    lab.watch((call) => {
      if (call !== 'renameToFree' && call !== 'createFolder') return;
      act?.();
      act = null;
    });
    const pc = await start();
    ours(pc);
    act = theirs;
    const error = await failureOf(pc.flush());
    expect([error.code, act]).to.deep.equal(['bad-state', null], error.message);
    return error.message;
  }

  it('do not step aside where another program has put other ones there, at the last moment', async () => {
    for (const name of ['a folder', 'first folder', 'second folder']) lab.write(`disk/${name}/file of it`, name);
    const both = ['first folder', 'second folder'];
    const message = await failureAt(
      (pc) => {
        pc.mtools('mren', '::/first folder', '::/for a while');
        pc.mtools('mren', '::/second folder', '::/first folder');
        pc.mtools('mren', '::/for a while', '::/second folder');
        pc.mtools('mren', '::/a folder', '::/comes first');
      },
      () => {
        for (const name of both) {
          renameSync(lab.path('disk', name), lab.path(name));
          mkdirSync(lab.path('disk', name));
        }
      },
    );
    expect(message).to.match(/'.*\/disk\/(first|second) folder' was changed by another program/);
    expect(files()).to.deep.equal({
      'comes first/': '',
      'comes first/file of it': 'a folder',
      'first folder/': '',
      'second folder/': '',
    });
  });

  for (const isWithFolder of [true, false]) {
    it(`are not made where another program has put something, at the last moment${isWithFolder ? ': around one that moves' : ''}`, async () => {
      lab.write('disk/a folder/file of it', 'content');
      lab.write('disk/other folder/file of it', 'content');
      const message = await failureAt(
        (pc) => {
          pc.mtools('mren', '::/a folder', '::/comes first');
          pc.mtools('mmd', '::/new folder');
          if (isWithFolder) pc.mtools('mmove', '::/other folder', '::/new folder/moved');
        },
        () => lab.write('disk/new folder', 'of another program'),
      );
      expect(message).to.contain(`'${lab.path('disk/new folder')}' was changed by another program`);
      expect(files()).to.include({ 'new folder': 'of another program', 'other folder/file of it': 'content' });
    });
  }

  const SEEDS = seedsOf({ fixed: 3, daily: 2, soak: 200 });
  it(`are the same ones after many moves of folders and files: ${spanOf(SEEDS)}`, async () => {
    for (const seed of SEEDS) {
      const own = new FolderLab();
      try {
        await shuffled(own, seed);
      } finally {
        await own.close();
      }
    }
  });

  async function shuffled(own: FolderLab, seed: number): Promise<void> {
    const below = seeded(seed);

    const pick = <T>(all: readonly T[]): T => all[below(all.length)];
    let folders: string[] = [];
    for (let index = 0; index < 9; index++) {
      const name = `${index < 3 ? '' : `${pick(folders)}/`}folder number ${index}`;
      folders.push(name);
      own.write(`disk/${name}/mark of folder ${index}`, String(index));
    }
    const inodes = folders.map((name) => statSync(own.path('disk', name)).ino);
    const pc = await Machine.start(own, { floppy: true });
    for (let round = 0; round < 3; round++) {
      for (let step = 0; step < 8; step++) {
        const from = pick(folders);
        const parent = pick(['', ...folders].filter((name) => name !== from && !name.startsWith(`${from}/`)));
        // Names are few, so that one folder comes where another one was.
        const to = `${parent === '' ? '' : `${parent}/`}folder number ${below(5)}`;
        if (folders.includes(to)) continue;
        pc.mtools('mmove', `::/${from}`, `::/${to}`);
        folders = folders.map((name) =>
          name === from || name.startsWith(`${from}/`) ? to + name.slice(from.length) : name,
        );
      }
      await pc.flush();
      const now = filesBelow(own.path('disk'));
      const expected: Record<string, string> = {};
      folders.forEach((name, index) => {
        expected[`${name}/`] = '';
        expected[`${name}/mark of folder ${index}`] = String(index);
      });
      expect(now, `seed ${seed}`).to.deep.equal(expected);
      expect(
        folders.map((name) => statSync(own.path('disk', name)).ino),
        `seed ${seed}`,
      ).to.deep.equal(inodes);
      await pc.expectSame();
    }
  }
});
