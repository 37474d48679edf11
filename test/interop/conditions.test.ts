// What the system refuses (missing, a folder, no permission, a read-only or full file system), by each verb that meets it: in qemu-img's words,
// with its exit code. Root may do anything, so both programs run without the capabilities that allow it.

import { chmodSync, closeSync, mkdirSync, openSync, truncateSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { asOurs, cliBundle, run, Workshop } from '../support/cli.js';
import { leaveOut } from '../support/needs.js';

const WITHOUT_POWER = ['--bounding-set=-dac_override,-dac_read_search', '--'];
const SOURCES = ['gone', 'folder', 'gone/x', 'raw/x', 'forbidden'];
const TARGETS = ['folder', 'raw/x', 'forbidden', 'locked/x', 'ro/x', 'ro/raw'];
/** `%` stands for the name. */
const READERS = ['info %', 'compare % raw', 'convert -O raw % out', 'commit %'];
const WRITERS = [
  'create -q -f raw % 64k',
  'create -q -f qcow2 % 64k',
  'convert -O qcow2 raw %',
  'convert -n -O raw raw %',
];
/** On a file system of 64 KiB. */
const FULL = [
  'create -q -f raw -o preallocation=falloc full/x 1M',
  'convert -O raw noise full/y',
  'create -q -f raw big 7P',
];

describe('what the system refuses', () => {
  let shop: Workshop;
  let bundle: string;
  let mounted = false;
  before(async () => {
    shop = await Workshop.open();
    bundle = await cliBundle();
    for (const name of ['folder', 'locked', 'ro', 'full']) mkdirSync(shop.path(name));
    closeSync(openSync(shop.path('raw'), 'w'));
    truncateSync(shop.path('raw'), 65536);
    writeFileSync(shop.path('forbidden'), 'no');
    writeFileSync(shop.path('noise'), Buffer.alloc(1 << 20, 7));
    chmodSync(shop.path('forbidden'), 0);
    chmodSync(shop.path('locked'), 0o555);
    shop.must('mkfifo', shop.path('fifo'));
    try {
      shop.must('mount', '-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', shop.path('full'));
      shop.must('mount', '-t', 'tmpfs', '-o', 'size=1M', 'tmpfs', shop.path('ro'));
      shop.must('cp', '--sparse=always', shop.path('raw'), shop.path('ro/raw'));
      shop.must('mount', '-o', 'remount,ro', shop.path('ro'));
      mounted = true;
    } catch {
      // Without the right to mount there is neither a read-only nor a full file system.
    }
  });
  after(() => {
    if (mounted) for (const name of ['ro', 'full']) shop.must('umount', shop.path(name));
    shop.remove();
  });

  const bothSay = (line: string): void => {
    const words = line.split(' ');
    const theirs = asOurs(run('setpriv', [...WITHOUT_POWER, 'qemu-img', ...words], shop.folder));
    shop.must('rm', '-f', 'out', 'big');
    const ours = run('setpriv', [...WITHOUT_POWER, process.execPath, bundle, ...words], shop.folder);
    // qemu-img does not say of a request of a copy which file had no room for it.
    const said = ours.stderr
      .replace(/^diskwright: warning: .*\n/, '')
      .replace(/(?<= at byte \d+): full\/\w+: /, ': ')
      // Nor what is left of the target.
      .replace(/^'.*' (is|has lost its old content, and is) incomplete: .*\n/m, '');
    expect(said).to.equal(theirs.stderr);
    expect(ours.code).to.equal(theirs.code);
    expect(theirs.code).to.be.greaterThan(0);
  };

  for (const [lines, names] of [
    [READERS, SOURCES],
    [WRITERS, TARGETS],
  ]) {
    for (const name of names.filter((one) => !one.startsWith('ro/'))) {
      it(`is told as qemu-img tells it of '${name}'`, () => {
        for (const line of lines) bothSay(line.replace('%', name));
      });
    }
  }

  describe('on file systems that are full or read-only', () => {
    before(function () {
      if (!mounted) leaveOut(this, 'mounts');
    });

    for (const [lines, names] of [
      [READERS, SOURCES],
      [WRITERS, TARGETS],
    ]) {
      for (const name of names.filter((one) => one.startsWith('ro/'))) {
        it(`is told as qemu-img tells it of '${name}'`, () => {
          for (const line of lines) bothSay(line.replace('%', name));
        });
      }
    }

    for (const line of FULL) it(`is told as qemu-img tells it where there is no room: ${line}`, () => bothSay(line));
  });

  it('is told at once of a pipe, for which qemu-img waits', () => {
    for (const line of ['info fifo', 'convert -O raw fifo out', 'convert -n -O raw raw fifo', 'map fifo']) {
      const { code, stderr } = shop.ours(...line.split(' '));
      expect(stderr).to.equal(
        "diskwright: Could not open 'fifo': 'file' driver requires 'fifo' to be a regular file\nIt is a pipe: 'diskwright convert - TARGET < PIPE' reads from one, 'diskwright convert SOURCE - > PIPE' writes to one.\n",
      );
      expect(code).to.equal(1);
    }
  });
});
