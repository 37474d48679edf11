// Programs that a test compares with. `npm test` installs them where it may.

import { spawnSync } from 'node:child_process';
import type { Context } from 'mocha';
import { leaveOut } from './needs.js';

/** Call in the `before` hook of a suite that needs `program`, or a module of QEMU's (`block-ssh.so`). Where it is missing, the suite is left out; in CI that is a failure. */
export function requirePeer(context: Context, program: string): void {
  // Programs for administrators count too: Debian's nbd-client is in /usr/sbin.
  const look = program.endsWith('.so')
    ? `ls /usr/lib/*/qemu/${program}`
    : `PATH="$PATH:/usr/sbin"; command -v ${program}`;
  if (spawnSync('sh', ['-c', look]).status === 0) return;
  if (process.env['CI'] === 'true') throw new Error(`${program} is missing (in CI that is a failure)`);
  leaveOut(context, 'a peer');
}
