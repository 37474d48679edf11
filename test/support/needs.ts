// What a test may need that not every machine has. This is the one way to leave a test out: a pending test fails the run
// (`forbidPending`), so that the tests cannot become fewer without a reason from this list.

import { appendFileSync } from 'node:fs';
import type { Context, Suite } from 'mocha';

/** Name of a need -> why a machine may lack it. */
export const NEEDS = {
  FUSE: 'no file can be mounted by FUSE here: there is no /dev/fuse, or this user may not mount',
  'a peer': 'a program that the tests compare with is not installed (in CI that is a failure)',
  'held pages': 'pages of files cannot be sent without being read (Linux before 6.5, or no pipes)',
  io_uring: 'the kernel, or the container around us, forbids io_uring',
  'loop devices': 'no loop device can be made here',
  mounts: 'this process may not mount file systems',
  'mount name spaces': 'file systems cannot be mounted here',
  O_DIRECT: 'the file system of the temporary folder has no O_DIRECT',
  reflink:
    'no file system whose files share blocks can be made and mounted here (xfsprogs, btrfs-progs, a loop device)',
  'another zstd': 'this node has no zstd of its own (before 22.15), and the package zstd-napi is not built',
  'a filter of system calls': 'strace, which forbids io_uring for a test, is not here or may not trace',
} as const;

export type Need = keyof typeof NEEDS;

/**
 * Leaves out all tests of the suite whose `before` hook calls this, and says why. `npm test` counts them as skipped.
 * `context` is the hook's `this`. Throws where it is the context of a single test or of its hooks: those are too late.
 */
export function leaveOut(context: Context, need: Need): never {
  if (!context.test?.title.startsWith('"before all" hook')) throw new Error(`cannot be left out here: ${NEEDS[need]}`);
  const suite = context.test.parent!;
  const count = testsOf(suite);
  suite.tests = [];
  suite.suites = [];
  console.log(`      left out, ${count} tests of '${suite.fullTitle()}': ${NEEDS[need]}`);
  const list = process.env['DISKWRIGHT_LEFT_OUT'];
  if (list !== undefined) appendFileSync(list, `${count}\t${need}\t${suite.fullTitle()}\n`);
  // Ends the hook. No test is left that could be pending.
  return context.skip();
}

function testsOf(suite: Suite): number {
  return suite.suites.reduce((sum, inner) => sum + testsOf(inner), suite.tests.length);
}
