// The program that the shell starts.

import { commandLine } from './command-line.js';
import { endProcess } from './end-process.js';
import { ignoreSignals } from './ignored-signals.js';
import { leave } from './leave.js';
import { main } from './main.js';
import { printUnexpected, reportFailure } from './output.js';

printUnexpected();
ignoreSignals();

// An uncaught exception is printed as one line too, without a stack.
process.on('uncaughtException', (error) => {
  reportFailure(error);
  process.exit(1);
});

// All is closed and written, and nothing is under way. Without this, node would take its heap apart piece by piece.
process.on('beforeExit', () => endProcess(Number(process.exitCode ?? 0)));

// `main` reports errors itself; a rejection that it does not handle goes to the handler above.
void main(commandLine(), process.argv[1]).then((code) => {
  process.exitCode = code;
  leave(code);
});
