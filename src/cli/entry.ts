// What the shell starts.

import { basename } from 'node:path';
import { commandLine } from './command-line.js';
import { main } from './main.js';
import { reportFailure, sayUnexpected } from './output.js';

sayUnexpected();

// An exception that nothing catches is one line too, not a stack.
process.on('uncaughtException', (error) => {
  reportFailure(error);
  process.exit(1);
});

// What is thrown in spite of its own care ends up above.
void main(commandLine(), basename(process.argv[1])).then((code) => {
  process.exitCode = code;
});
