// Other programs change the folder while it is brought up to date, and the system may stop at any step: nothing of theirs is replaced or removed, and no content is without
// a durable name before the old one goes.

import { appendFileSync, existsSync, linkSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { BlockError } from '../../../src/util/errors.js';
import { failureOf } from '../support.js';
import { type FolderLab, filesBelow, Machine, useMachineLab } from './lab.js';

describe('vvfat: other programs, while the folder is brought up to date', function () {
  this.timeout(60_000);
  let lab: FolderLab;
  useMachineLab((made) => {
    lab = made;
  });

  const disk = (name: string) => lab.path('disk', name);
  const text = (name: string) => readFileSync(disk(name), 'utf8');
  /** The names of the calls since the last start, with the last names of what they are for. */
  let calls: string[] = [];
  let theirs: (call: string) => void = () => undefined;
  const start = async () => {
    theirs = () => undefined;
    lab.watch((name, args) => {
      const paths = args.filter((one) => Array.isArray(one)).map((path) => `/${(path as string[]).join('/')}`);
      const call = [name, ...paths].join(' ').replace(/\.diskwright-[0-9a-f]{16}/g, 'TEMPORARY');
      calls.push(call);
      theirs(call);
    });
    const pc = await Machine.start(lab, { floppy: true });
    calls = [];
    return pc;
  };

  const BOTH: readonly [string, (pc: Machine) => void][] = [
    ['replaced', (pc) => pc.copyOver('FILE')],
    ['removed', (pc) => pc.mtools('mdel', '::/FILE')],
  ];
  for (const [what, ours] of BOTH) {
    it(`change what is to be ${what} while content is copied: nothing is done`, async () => {
      lab.write('disk/FILE');
      const pc = await start();
      ours(pc);
      pc.copyOver('NEW');
      theirs = (call) => {
        if (call.startsWith('createFile') && text('FILE') === 'disk/FILE') appendFileSync(disk('FILE'), ', theirs');
      };
      const error = await failureOf(pc.flush());
      expect([error.code, /in part/.test(error.message)]).to.deep.equal(['bad-state', false], error.message);
      expect(filesBelow(lab.path('disk'))).to.deep.equal({ FILE: 'disk/FILE, theirs' });
    });

    it(`change what is to be ${what}, and give it the size and the time that it had: nothing is done`, async () => {
      lab.write('disk/FILE');
      const pc = await start();
      const { atime, mtime } = statSync(disk('FILE'));
      // To the last bit of the time: as the system has it.
      utimesSync(disk('FILE'), atime, mtime);
      await pc.stop();
      const later = await Machine.start(lab, { floppy: true });
      ours(later);
      writeFileSync(disk('FILE'), 'DISK/FILE');
      utimesSync(disk('FILE'), atime, mtime);
      expect((await failureOf(later.flush())).code).to.equal('bad-state');
      expect(filesBelow(lab.path('disk'))).to.deep.equal({ FILE: 'DISK/FILE' });
    });
  }

  const LAST_MOMENT: readonly [string, (pc: Machine) => void, string][] = [
    ['what is to be removed', (pc) => pc.mtools('mdel', '::/FILE'), 'FILE'],
    ['what is to be replaced', (pc) => pc.copyOver('FILE'), 'FILE'],
    ['what is to be renamed', (pc) => pc.mtools('mren', '::/FILE', '::/RENAMED'), 'FILE'],
    ['a name that is to be new', (pc) => pc.copyOver('NEW'), 'NEW'],
    ['a name that a file is to get', (pc) => pc.mtools('mren', '::/FILE', '::/RENAMED'), 'RENAMED'],
  ];
  for (const [what, ours, name] of LAST_MOMENT) {
    it(`change ${what} at the last moment: it is still there`, async () => {
      lab.write('disk/FILE');
      const pc = await start();
      pc.mtools('mmd', '::/MADE');
      ours(pc);
      // A name has been changed by then.
      theirs = (call) => {
        if (call === 'createFolder /MADE') appendFileSync(disk(name), ', theirs');
      };
      const error = await failureOf(pc.flush());
      expect(error.code).to.equal('bad-state');
      expect(error.message).to.match(/may have changed in part.*was changed by another program/);
      expect(text(name)).to.match(/, theirs$/);
      if (name !== 'FILE') expect(text('FILE')).to.equal('disk/FILE');
    });
  }

  it('find new content under its name, durably, before what is gone is removed', async () => {
    for (const name of ['SUB/GONE', 'CHANGED', 'MOVED', 'PLACE']) lab.write(`disk/${name}`);
    const pc = await start();
    pc.mtools('mdel', '::/SUB/GONE', '::/PLACE');
    pc.copyOver('CHANGED');
    pc.copyOver('SUB/NEW');
    pc.mtools('mmove', '::/MOVED', '::/SUB/MOVED');
    pc.mtools('mmd', '::/PLACE');
    pc.copyOver('PLACE/NEW');
    await pc.flush();
    const at = (call: string) => {
      const found = calls.indexOf(call);
      expect(found, `${call}\n${calls.join('\n')}`).to.be.greaterThan(-1);
      return found;
    };
    const firstName = calls.findIndex((call) => /^(rename|createFolder|removeFile)/.test(call));
    // The temporary names are durable before any name changes.
    const lastTemporary = calls.findLastIndex((call) => /^(createFile|setPermissions)/.test(call));
    for (const folder of ['flush /', 'flush /SUB']) {
      const flushed = calls.indexOf(folder, lastTemporary);
      expect([flushed > lastTemporary, flushed < firstName], folder).to.deep.equal([true, true]);
    }
    const names = calls.flatMap((call, index) => (/^rename/.test(call) ? [index] : []));
    const removals = calls.flatMap((call, index) => (/^removeFile/.test(call) ? [index] : []));
    expect(removals).to.have.length(2);
    expect(names.length).to.be.greaterThan(4);
    expect(Math.max(...names)).to.be.lessThan(Math.min(...removals));
    for (const folder of ['flush /', 'flush /SUB', 'flush /PLACE']) {
      const flushed = calls.lastIndexOf(folder, Math.min(...removals));
      expect(flushed, folder).to.be.greaterThan(Math.max(...names));
    }
    expect(at('removeFile /SUB/GONE')).to.be.greaterThan(at('createFolder /PLACE'));
  });

  it('have several names for one file, of which some are removed and some renamed', async () => {
    lab.write('disk/A', 'one file');
    for (const name of ['B', 'C', 'D']) linkSync(disk('A'), disk(name));
    const pc = await start();
    pc.mtools('mdel', '::/B', '::/C');
    pc.mtools('mren', '::/A', '::/C');
    await pc.flush();
    expect(filesBelow(lab.path('disk'))).to.deep.equal({ C: 'one file', D: 'one file' });
    expect(statSync(disk('C')).ino).to.equal(statSync(disk('D')).ino);
    pc.copyOver('D');
    await pc.flush();
    expect(filesBelow(lab.path('disk'))).to.deep.equal({ C: 'one file', D: 'what the machine has put into D' });
    await pc.expectSame();
  });

  for (const folder of ['/', '/SUB', '/OTHER']) {
    it(`have made ${folder} one that cannot be written to: nothing is done`, async () => {
      for (const name of ['FILE', 'SUB/FILE', 'OTHER/FILE', 'UNTOUCHED/FILE']) lab.write(`disk/${name}`);
      const pc = await start();
      pc.mtools('mmove', '::/SUB/FILE', '::/OTHER/MOVED');
      pc.copyOver('FILE');
      const before = filesBelow(lab.path('disk'));
      theirs = (call) => {
        if (call === `checkWritable ${folder}`) throw new BlockError('permission', 'not writable');
      };
      const error = await failureOf(pc.flush());
      expect([error.code, error.message]).to.deep.equal(['permission', 'not writable']);
      expect(filesBelow(lab.path('disk'))).to.deep.equal(before);
      expect(calls).not.to.include('checkWritable /UNTOUCHED');
      theirs = () => undefined;
      await pc.flush();
      expect(existsSync(disk('OTHER/MOVED'))).to.equal(true);
    });
  }

  it('own a file, so that its times cannot be set: its content and name are right', async () => {
    lab.write('disk/FILE');
    const pc = await start();
    pc.mtools('mren', '::/FILE', '::/MOVED');
    // Its time: behind the label and, where there is one, the long name.
    const at = [
      ...readFileSync(lab.path('machine.raw'))
        .subarray(0, 20_000)
        .toString('latin1')
        .matchAll(/MOVED {6}/g),
    ];
    pc.poke(at.at(-1)!.index + 22, [0, 0, 0x21, 0x40]);
    theirs = (call) => {
      if (call.startsWith('setTimes')) throw new BlockError('permission', 'another owner');
    };
    await pc.flush();
    expect(calls).to.include('setTimes /MOVED');
    expect(filesBelow(lab.path('disk'))).to.deep.equal({ MOVED: 'disk/FILE' });
    pc.copyOver('OTHER');
    theirs = () => undefined;
    await pc.flush();
    expect(Object.keys(filesBelow(lab.path('disk')))).to.have.length(2);
  });
});
