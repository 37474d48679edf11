// Bringing the folder up to date fails at each of its calls into the folder: before it has begun to change names, the folder is as it was and the next flush does it;
// after that, nothing is said to be done, and no content is lost.

import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { BlockError } from '../../../src/util/errors.js';
import { requirePeer } from '../../support/peers.js';
import { failureOf } from '../support.js';
import { FolderLab, filesBelow, Machine } from './lab.js';

/** What changes something in a folder, or says whether that can be done. */
const CHANGES: ReadonlySet<string> = new Set([
  ...['createFile', 'createFolder', 'rename', 'renameToFree', 'removeFile', 'removeFolder'],
  ...['setTimes', 'setPermissions', 'flush', 'checkWritable'],
]);

/** Counts the calls of the lab's folders that change something, and fails the one with the number. */
class Fault {
  calls = 0;
  at = Number.POSITIVE_INFINITY;

  constructor(lab: FolderLab) {
    lab.watch((name) => {
      if (CHANGES.has(name) && ++this.calls === this.at) {
        throw new BlockError('no-space', `${name} fails`, { errno: 'ENOSPC' });
      }
    });
  }
}

describe('vvfat: bringing the folder up to date fails', function () {
  this.timeout(300_000);
  before(function () {
    requirePeer(this, 'mcopy');
  });

  const NEW = 'new content, ';
  const OLD = { keep: 'kept', change: 'content of old', 'sub/go': 'gone', move: 'moved', 'sub/inner': 'inner' };
  const AFTER = {
    keep: 'kept',
    change: `${NEW}change`,
    'made/': '',
    'made/new': `${NEW}new`,
    'made/moved there': 'moved',
    sub: `${NEW}sub`,
    'inner of sub': 'inner',
  };

  /** A machine that has changed much; `fault` counts from here on. */
  async function prepared(lab: FolderLab): Promise<{ pc: Machine; fault: Fault }> {
    const fault = new Fault(lab);
    for (const [name, content] of Object.entries(OLD)) lab.write(`disk/${name}`, content);
    const pc = await Machine.start(lab, { floppy: true });
    const put = (name: string) => {
      lab.write('content', AFTER[name as keyof typeof AFTER]);
      pc.mtools('mcopy', '-o', lab.path('content'), `::/${name}`);
    };
    put('change');
    pc.mtools('mmd', '::/made');
    put('made/new');
    pc.mtools('mmove', '::/move', '::/made/moved there');
    pc.mtools('mmove', '::/sub/inner', '::/inner of sub');
    pc.mtools('mdeltree', '::/sub');
    put('sub');
    await pc.write();
    fault.calls = 0;
    return { pc, fault };
  }

  it('at any call', async () => {
    const calls = await withLab(async (lab) => {
      const { pc, fault } = await prepared(lab);
      await pc.flush();
      expect(filesBelow(lab.path('disk'))).to.deep.equal(AFTER);
      return fault.calls;
    });
    expect(calls).to.be.greaterThan(15);
    const outcomes: boolean[] = [];
    for (let at = 1; at <= calls; at++) outcomes.push(await withLab((lab) => isInPart(lab, at)));
    // What can be refused is refused first.
    const first = outcomes.indexOf(true);
    expect(first).to.be.greaterThan(3);
    expect(outcomes.slice(first)).not.to.include(false);
  });

  /** Fails the call with this number, and checks what follows; resolves with whether the folder may have changed in part. */
  async function isInPart(lab: FolderLab, at: number): Promise<boolean> {
    const { pc, fault } = await prepared(lab);
    const old = filesBelow(lab.path('disk'));
    fault.at = at;
    const error = await failureOf(pc.flush());
    expect(error.code).to.equal('no-space');
    const now = filesBelow(lab.path('disk'));
    if (!/may have changed in part/.test(error.message)) {
      expect(now, `call ${at}`).to.deep.equal(old);
      await pc.flush();
      expect(filesBelow(lab.path('disk')), `call ${at}`).to.deep.equal(AFTER);
      await pc.expectSame();
      return false;
    }
    for (const content of ['kept', 'moved', 'inner', `${NEW}new`, `${NEW}sub`, `${NEW}change`]) {
      expect(Object.values(now), `call ${at}`).to.include(content);
    }
    await pc.expectSame();
    expect((await failureOf(pc.flush())).message).to.equal(error.message);
    const last = await failureOf(pc.stop());
    expect(last.message.startsWith(`${error.message}. The disk is kept as `), last.message).to.equal(true);
    const image = readFileSync(/'([^']*\.img)'/.exec(last.message)![1]);
    expect(Buffer.compare(image, pc.disk), `call ${at}`).to.equal(0);
    return true;
  }
});

describe('vvfat: bringing the folder up to date fails among many files', function () {
  this.timeout(120_000);
  it('that have moved: the disk is read as before', async () => {
    await withLab(async (lab) => {
      for (let index = 0; index < 40; index++) lab.write(`disk/FILE${index}`, `content of ${index}`);
      let renames = 0;
      lab.watch((name) => {
        if (name === 'renameToFree' && ++renames > 30) throw new BlockError('no-space', 'renaming fails');
      });
      const pc = await Machine.start(lab, { floppy: true });
      for (let index = 0; index < 40; index++) pc.mtools('mren', `::/FILE${index}`, `::/MOVED${index}`);
      expect((await failureOf(pc.flush())).message).to.match(/may have changed in part/);
      // More of them than are kept open, and the same once more.
      await pc.expectSame();
      await pc.expectSame();
    });
  });
});

async function withLab<T>(action: (lab: FolderLab) => Promise<T>): Promise<T> {
  const lab = new FolderLab();
  try {
    return await action(lab);
  } finally {
    await lab.close();
  }
}
