// What the shell starts.

import { basename } from 'node:path';
import { main } from './main.js';
import { reportFailure } from './output.js';

// What nobody catches is one line too, not a stack.
process.on('uncaughtException', (error) => {
  reportFailure(error);
  process.exit(1);
});

void main(process.argv.slice(2), basename(process.argv[1])).then((code) => {
  process.exitCode = code;
});
