// Reference programs that a test compares with. In CI a missing one is a failure; elsewhere the test is skipped and says so.

import { spawnSync } from 'node:child_process';
import type { Context } from 'mocha';

/** Call at the start of a test or hook that needs `program`. */
export function requirePeer(context: Context, program: string): void {
  // Programs for administrators count too: Debian's nbd-client is in /usr/sbin.
  if (spawnSync('sh', ['-c', `PATH="$PATH:/usr/sbin"; command -v ${program}`]).status === 0) return;
  if (process.env['CI'] === 'true') throw new Error(`${program} is missing (in CI that is a failure)`);
  console.log(`      skipped: ${program} is not installed`);
  context.skip();
}
