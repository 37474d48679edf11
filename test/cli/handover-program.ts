// A command of which a signal comes just before it takes signals over from the early end (see early-end.test.ts), by an `Interrupt` or a `BreakOff`. It prints the exit code that
// the signal stands for; null: it has not heard of it.
import { writeSync } from 'node:fs';
import { BreakOff } from '../../src/cli/break-off.js';
import { beginEarlyEnd } from '../../src/cli/early-end.js';
import { Interrupt, type Session } from '../../src/cli/session.js';

async function main([taker]: readonly string[]): Promise<void> {
  beginEarlyEnd();
  process.kill(process.pid, 'SIGTERM');
  const session = { graph: { abortStalled: () => undefined }, listeners: [] } as unknown as Session;
  const listener = taker === 'Interrupt' ? new Interrupt(session) : new BreakOff('', { inOrder: true });
  // Node tells of a signal in the first turn, or in the second one.
  for (let turn = 0; turn < 3; turn++) await new Promise(setImmediate);
  writeSync(1, String(listener.exitCode));
  listener.stop();
}

void main(process.argv.slice(2));
