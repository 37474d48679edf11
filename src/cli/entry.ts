// What the shell starts.

import { setFlagsFromString } from 'node:v8';
import { main } from './main.js';
import { reportError, reportFailure, stopWriting } from './output.js';

// A command lives for a fraction of a second. With V8's own budget its optimising compiler took a third of the CPU time of a copy of
// 1 GiB, on the core that the copy needs; a loop that is really hot (a check of a huge image) is still compiled.
setFlagsFromString('--interrupt-budget=2000000');

// What nobody catches is one line too, not a stack.
process.on('uncaughtException', (error) => {
  reportFailure(error);
  process.exit(1);
});
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') return stopWriting();
  reportError(`error while writing to standard output: ${error.message}`);
  process.exit(1);
});
// Nobody is left to be told.
process.stderr.on('error', () => undefined);

void main(process.argv.slice(2)).then((code) => {
  process.exitCode = code;
});
