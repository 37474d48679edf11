// A command that is over at once (see leave.test.ts). With an argument, it has let a promise reject that nobody waits for.
import { writeSync } from 'node:fs';
import { allIsClosed, leave } from '../../src/cli/leave.js';

process.on('uncaughtException', (error) => {
  writeSync(2, `uncaught: ${error.message}\n`);
  process.exit(1);
});

async function main(): Promise<void> {
  if (process.argv.length > 2) void Promise.reject(new Error('lost'));
  allIsClosed();
}

void main().then(() => {
  leave(7);
  writeSync(2, 'it did not leave\n');
});
