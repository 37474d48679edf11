// What the shell starts.

import { setFlagsFromString } from 'node:v8';
import { main } from './main.js';

// A command lives for a fraction of a second. With V8's own budget its optimising compiler took a third of the CPU time of a copy of
// 1 GiB, on the core that the copy needs; a loop that is really hot (a check of a huge image) is still compiled.
setFlagsFromString('--interrupt-budget=2000000');

// A reader that went away (`diskwright map ... | head`) is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

void main(process.argv.slice(2)).then((code) => {
  process.exitCode = code;
});
