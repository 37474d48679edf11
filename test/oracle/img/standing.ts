// Our command line in a process that stays: many command lines run in it, one after the other, each as if it were the first. What a command prints goes to
// the process's own files; who asks for it reads them (`standing-program.ts`).

import { main } from '../../../src/cli/main.js';
import { printUnexpected } from '../../../src/cli/output.js';

printUnexpected();

process.on('message', ({ name, words, folder }: { name: string; words: string[]; folder: string }) => {
  process.chdir(folder);
  void main(words, name).then((code) => process.send!(code));
});
