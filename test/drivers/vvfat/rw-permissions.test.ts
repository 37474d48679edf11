// Who may read and write the files that a machine has made, changed and renamed: nobody more than before.

import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { expect } from 'chai';
import { BlockError } from '../../../src/util/errors.js';
import { type FolderLab, Machine, useMachineLab } from './lab.js';

describe('vvfat: permissions of what is written', function () {
  this.timeout(60_000);
  let lab: FolderLab;
  useMachineLab((made) => {
    lab = made;
  });

  const mode = (name: string) => (statSync(lab.path('disk', name)).mode & 0o7777).toString(8);
  const make = (name: string, permissions: number, content?: string) => {
    lab.write(`disk/${name}`, content);
    chmodSync(lab.path('disk', name), permissions);
  };
  const start = () => Machine.start(lab, { floppy: true });
  const makeFolder = (name: string, permissions: number) => {
    mkdirSync(lab.path('disk', name));
    chmodSync(lab.path('disk', name), permissions);
  };

  for (const [bits, left] of [
    [0o4755, '755'],
    [0o2750, '750'],
    [0o1640, '640'],
  ] as const) {
    it(`are ${left} where they were ${bits.toString(8)}: what a machine writes runs as nobody else`, async () => {
      make('PROGRAM', bits);
      const pc = await start();
      pc.copyOver('PROGRAM');
      await pc.flush();
      expect(readFileSync(lab.path('disk/PROGRAM'), 'utf8')).to.equal('what the machine has put into PROGRAM');
      expect(mode('PROGRAM')).to.equal(left);
    });
  }

  it('are as strict while a file is being written', async () => {
    const seen = new Map<string, string[]>();
    lab.watch((name) => {
      if (!['removeFile', 'setPermissions', 'setTimes', 'renameToFree', 'rename'].includes(name)) return;
      const own = readdirSync(lab.path('disk')).filter((file) => file.startsWith('.diskwright-'));
      if (own.length > 0) seen.set(name, [...(seen.get(name) ?? []), ...own.map(mode)]);
    });
    make('SECRET', 0o600);
    const pc = await start();
    pc.copyOver('SECRET');
    pc.copyOver('NEW');
    await pc.flush();
    // The scratch file, before its name goes.
    expect(seen.get('removeFile')).to.deep.equal(['600']);
    expect(seen.get('setPermissions')?.[0]).to.equal('600');
    const open = (0o644 & ~process.umask()).toString(8);
    expect([mode('SECRET'), mode('NEW')]).to.deep.equal(['600', open]);
    // Before they get their names, they have what these are to have.
    const before = [...(seen.get('rename') ?? []), ...(seen.get('renameToFree') ?? [])];
    expect(new Set(before)).to.deep.equal(new Set(['600', open]));
  });

  it('are as the file system has them, where none can be set', async () => {
    make('CHANGED', 0o755);
    lab.watch((name, args) => {
      if (name === 'setPermissions') throw new BlockError('permission', 'no permissions here');
      if (name !== 'info') return;
      const path = lab.path('disk', ...(args[0] as string[]));
      if (existsSync(path) && (statSync(path).mode & 0o777) !== 0o755) chmodSync(path, 0o755);
    });
    const pc = await start();
    pc.copyOver('CHANGED');
    pc.copyOver('NEW');
    pc.mtools('mmd', '::/MADE');
    await pc.flush();
    pc.mtools('mren', '::/MADE', '::/RENAMED');
    await pc.flush();
    expect(['CHANGED', 'NEW', 'RENAMED'].map(mode)).to.deep.equal(['755', '755', '755']);
  });

  it('stay with a file that is renamed and changed', async () => {
    make('SECRET', 0o600, 'secret content');
    make('OPEN', 0o644, 'open content');
    const pc = await start();
    pc.mtools('mren', '::/SECRET', '::/RENAMED');
    pc.touch('secret content');
    await pc.flush();
    expect(readFileSync(lab.path('disk/RENAMED'), 'utf8')).to.equal('!ecret content');
    expect(mode('RENAMED')).to.equal('600');
    // In place of another one.
    pc.mtools('mdel', '::/OPEN');
    pc.mtools('mren', '::/RENAMED', '::/OPEN');
    pc.touch('ecret content');
    await pc.flush();
    expect(readFileSync(lab.path('disk/OPEN'), 'utf8')).to.equal('!!cret content');
    expect(mode('OPEN')).to.equal('600');
  });

  it('stay with an empty file that is renamed', async () => {
    make('EMPTY', 0o600, '');
    const pc = await start();
    pc.mtools('mren', '::/EMPTY', '::/RENAMED');
    await pc.flush();
    expect(mode('RENAMED')).to.equal('600');
  });

  it('stay with a folder that is renamed', async () => {
    makeFolder('PRIVATE', 0o700);
    makeFolder('GROUP', 0o2750);
    makeFolder('PRIVATE/INNER', 0o711);
    make('PRIVATE/INNER/FILE', 0o644);
    const pc = await start();
    pc.mtools('mren', '::/PRIVATE', '::/RENAMED');
    pc.mtools('mren', '::/GROUP', '::/OTHERS');
    pc.mtools('mmd', '::/NEW');
    await pc.flush();
    expect(readFileSync(lab.path('disk/RENAMED/INNER/FILE'), 'utf8')).to.equal('disk/PRIVATE/INNER/FILE');
    expect(['RENAMED', 'RENAMED/INNER', 'OTHERS', 'RENAMED/INNER/FILE'].map(mode)).to.deep.equal([
      ...['700', '711', '2750', '644'],
    ]);
    expect(mode('NEW')).to.equal((0o777 & ~process.umask()).toString(8));
    // Once more, from what is known by now.
    pc.mtools('mren', '::/RENAMED', '::/AGAIN');
    await pc.flush();
    expect(['AGAIN', 'AGAIN/INNER'].map(mode)).to.deep.equal(['700', '711']);
  });

  it('become as strict as those of a folder that takes its place', async () => {
    makeFolder('OPEN', 0o755);
    makeFolder('PRIVATE', 0o700);
    make('PRIVATE/FILE', 0o644);
    const pc = await start();
    pc.mtools('mrd', '::/OPEN');
    pc.mtools('mren', '::/PRIVATE', '::/OPEN');
    await pc.flush();
    expect(readdirSync(lab.path('disk'))).to.deep.equal(['OPEN']);
    expect(mode('OPEN')).to.equal('700');
  });
});
