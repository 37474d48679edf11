// Bringing the folder up to date ends at each of its calls into the folder and the new files in turn: with EIO, with ENOSPC, and with the process. Whichever it is, each
// file is there with its old content or its new one, whole; what has no name yet lies in a file that a warning names when the folder is opened again.
//
// A process that has ended is one whose calls, from one on, do nothing; a few really end by SIGKILL (killed.ts). A power cut is the same, but what was not flushed is lost.

import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { BlockError } from '../../../src/util/errors.js';
import { requirePeer } from '../../support/peers.js';
import { programOf } from '../../support/program.js';
import { DAY, repeats } from '../../support/sample.js';
import { failureOf } from '../support.js';
import { FolderLab, filesBelow, Machine, withoutImage } from './lab.js';

/** A run takes one in so many of the calls, others each day. */
const EACH = repeats(10, 1);
const LEFT = /(^|\/)\.diskwright-[0-9a-f]{16}(\/|$)/;
/** Calls that say something, and change nothing. */
const LOOKS: ReadonlySet<string> = new Set(['info', 'entries', 'openFile', 'checkWritable', 'close']);

const long = (text: string) => `${text} `.repeat(400);
const OLD: Record<string, string> = {
  keep: long('kept'),
  change: long('old of change'),
  'saved file.txt': long('old of saved'),
  'saved file.tmp': long('new of saved'),
  'the one': long('first of two'),
  'the two': long('second of two'),
  move: long('moved'),
  'place/goes': long('goes with the place'),
  'place/stays': long('leaves the place'),
  folder: long('gives way to a folder'),
  'renamed/a': long('a in renamed'),
  'renamed/deep/b': long('b in renamed'),
};
const AFTER: Record<string, string> = {
  keep: OLD['keep'],
  change: long('new of change'),
  'saved file.txt': OLD['saved file.tmp'],
  'the one': OLD['the two'],
  'the two': OLD['the one'],
  'made/': '',
  'made/moved there': OLD['move'],
  'made/new': long('new of made'),
  place: long('in place of the folder'),
  'stays of place': OLD['place/stays'],
  'folder/': '',
  'folder/new': long('new in the folder'),
  'made/other name/': '',
  'made/other name/a': OLD['renamed/a'],
  'made/other name/deep/': '',
  'made/other name/deep/b': long('new of b'),
};
const CONTENTS = new Set([...Object.values(OLD), ...Object.values(AFTER)]);
/** What the machine has not removed or overwritten. */
const LASTING = Object.values(OLD).filter((content) => Object.values(AFTER).includes(content));

/** A machine that has changed all that, and has written it to the disk. */
async function prepared(lab: FolderLab): Promise<Machine> {
  for (const [name, content] of Object.entries(OLD)) lab.write(`disk/${name}`, content);
  const pc = await Machine.start(lab, { floppy: true });
  const put = (name: string) => {
    lab.write('content', AFTER[name]);
    pc.mtools('mcopy', '-o', lab.path('content'), `::/${name}`);
  };
  put('change');
  pc.mtools('mdel', '::/saved file.txt');
  pc.mtools('mren', '::/saved file.tmp', '::/saved file.txt');
  pc.mtools('mren', '::/the one', '::/aside');
  pc.mtools('mren', '::/the two', '::/the one');
  pc.mtools('mren', '::/aside', '::/the two');
  pc.mtools('mmd', '::/made');
  pc.mtools('mmove', '::/move', '::/made/moved there');
  put('made/new');
  pc.mtools('mmove', '::/place/stays', '::/stays of place');
  pc.mtools('mdeltree', '::/place');
  put('place');
  pc.mtools('mdel', '::/folder');
  pc.mtools('mmd', '::/folder');
  put('folder/new');
  pc.mtools('mmove', '::/renamed', '::/made/other name');
  put('made/other name/deep/b');
  await pc.write();
  return pc;
}

/** Calls `at` before the call with this number, of those that change something once `armed`. */
class Steps {
  count = 0;
  armed = false;
  names: string[] = [];

  constructor(lab: FolderLab, before: (count: number, name: string, args: unknown[]) => void) {
    lab.watch((name, args) => {
      if (!this.armed || LOOKS.has(name)) return;
      this.names.push(name);
      before(++this.count, name, args);
    });
  }
}

/** Each file of the folder is whole, and none is lost. */
function expectWhole(now: Record<string, string>, step: string): void {
  for (const [name, content] of Object.entries(now)) {
    if (!LEFT.test(name) && !name.endsWith('/')) expect(CONTENTS.has(content), `${step}: '${name}'`).to.equal(true);
    const either = [OLD[name], AFTER[name], name.endsWith('/') ? '' : null];
    if (name in OLD && name in AFTER) expect(either.includes(content), `${step}: '${name}'`).to.equal(true);
  }
  const there = new Set(Object.values(now));
  for (const content of LASTING) expect(there.has(content), `${step}: lost: ${content.slice(0, 20)}`).to.equal(true);
  // What goes goes last: then all that is new is there.
  const gone = Object.values(OLD).some((content) => !there.has(content));
  if (!gone) return;
  for (const content of Object.values(AFTER)) {
    expect(there.has(content), `${step}: not there yet: ${content.slice(0, 20)}`).to.equal(true);
  }
}

/** Another disk of the folder can be opened, and says what was left. */
async function expectNamed(lab: FolderLab, now: Record<string, string>, step: string): Promise<void> {
  const tops = Object.keys(now).flatMap((name) => /^(.*\/)?\.diskwright-[0-9a-f]{16}(?=\/|$)/.exec(name)?.[0] ?? []);
  lab.warnings.length = 0;
  for (const own of [{}, { rw: true, 'read-only': false }]) {
    const node = await lab.open({ floppy: true, ...own });
    await lab.shut(node);
  }
  const left = [...new Set(tops)];
  expect(lab.warnings, step).to.have.length(left.length === 0 ? 0 : 2);
  for (const warning of lab.warnings) for (const name of left) expect(warning).to.include(lab.path('disk', name));
}

async function withLab<T>(action: (lab: FolderLab) => Promise<T>): Promise<T> {
  const lab = new FolderLab();
  try {
    return await action(lab);
  } finally {
    await lab.close();
  }
}

describe('vvfat: bringing the folder up to date ends in the middle', function () {
  this.timeout(300_000);
  let calls = 0;
  const chosen = (first: number) =>
    Array.from({ length: calls }, (_, index) => index + 1).filter((at) => (at + DAY + first) % EACH === 0);
  before(async function () {
    requirePeer(this, 'mcopy');
    calls = await withLab(async (lab) => {
      const steps = new Steps(lab, () => undefined);
      const pc = await prepared(lab);
      steps.armed = true;
      await pc.flush();
      expect(filesBelow(lab.path('disk'))).to.deep.equal(AFTER);
      return steps.count;
    });
    expect(calls).to.be.greaterThan(40);
  });

  for (const [errno, code] of [
    ['EIO', 'io'],
    ['ENOSPC', 'no-space'],
  ] as const) {
    it(`with ${errno}`, async () => {
      for (const at of chosen(errno === 'EIO' ? 1 : 3)) {
        await withLab(async (lab) => {
          const steps = new Steps(lab, (count, name) => {
            if (count === at) throw new BlockError(code, `${name} fails`, { errno });
          });
          const pc = await prepared(lab);
          const old = filesBelow(lab.path('disk'));
          steps.armed = true;
          const failed = await pc.flush().then(
            () => null,
            (error: BlockError) => error,
          );
          const step = `${errno} at ${at}, ${steps.names[at - 1]}`;
          const now = filesBelow(lab.path('disk'));
          expectWhole(now, step);
          // Times of another owner's file, and closing what is flushed, may fail.
          if (failed === null) {
            expect(now, step).to.deep.equal(AFTER);
            return;
          }
          expect(failed.code, step).to.equal(code);
          await pc.expectSame();
          if (!/may have changed in part/.test(failed.message)) {
            expect(now, step).to.deep.equal(old);
            await pc.flush();
            expect(filesBelow(lab.path('disk')), step).to.deep.equal(AFTER);
            return;
          }
          const last = await failureOf(pc.stop());
          const image = /'([^']*\.img)'/.exec(last.message)![1];
          expect(Buffer.compare(readFileSync(image), pc.disk), step).to.equal(0);
          rmSync(image);
          await expectNamed(lab, filesBelow(lab.path('disk')), step);
        });
      }
    });
  }

  it('with the process', async () => {
    for (const at of chosen(5)) {
      await withLab(async (lab) => {
        let dead = false;
        const steps = new Steps(lab, (count) => {
          dead ||= count >= at;
          if (dead) throw new BlockError('io', 'the process has ended');
        });
        const pc = await prepared(lab);
        steps.armed = true;
        await pc.flush().catch(() => undefined);
        await pc.stop().catch(() => undefined);
        steps.armed = false;
        const step = `ended at ${at}, ${steps.names[at - 1]}`;
        const now = withoutImage(filesBelow(lab.path('disk')));
        expectWhole(now, step);
        await expectNamed(lab, now, step);
      });
    }
  });

  it('by SIGKILL, and with what was not flushed lost', async () => {
    const program = programOf(new URL('killed.ts', import.meta.url));
    for (let at = 1; at <= calls; at += Math.ceil(calls / 8)) {
      await withLab(async (lab) => {
        const pc = await prepared(lab);
        writeFileSync(lab.path('machine.disk'), pc.disk);
        const ended = spawnSync(process.execPath, [program, lab.path('disk'), lab.path('machine.disk'), String(at)], {
          encoding: 'utf8',
        });
        expect(ended.signal, ended.stderr).to.equal('SIGKILL');
        const now = filesBelow(lab.path('disk'));
        expectWhole(now, `killed at ${at}`);
        await expectNamed(lab, now, `killed at ${at}`);
      });
    }
  });

  it('and nothing is removed, and no success said, before the names of what is new are durable', async () => {
    await withLab(async (lab) => {
      const unflushed = new Set<string>();
      const early: string[] = [];
      const parent = (path: unknown) => (path as string[]).slice(0, -1).join('/');
      const steps = new Steps(lab, (_count, name, [first, second]) => {
        if (name === 'flush') unflushed.delete((first as string[]).join('/'));
        else if (name === 'createFile' || name === 'createFolder') unflushed.add(parent(first));
        else if (name === 'rename' || name === 'renameToFree') unflushed.add(parent(second));
        else if (name === 'removeFile' || name === 'removeFolder') {
          // What else is removed has been renamed since.
          if (unflushed.size > 0) early.push(`${name} ${(first as string[]).join('/')} before ${[...unflushed]}`);
        }
      });
      const pc = await prepared(lab);
      steps.armed = true;
      await pc.flush();
      expect(early).to.deep.equal([]);
      expect([...unflushed]).to.deep.equal([]);
    });
  });
});
