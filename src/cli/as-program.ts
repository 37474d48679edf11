// By which name the program was called: that of its file or of a link to it, or of a tool of QEMU in whose place a script calls it (`diskwright shims`).
//
//   diskwright --as=qemu-img info disk      is      qemu-img info disk

import { UsageError } from './getopt.js';
import { AS, QEMU_IMG } from './output.js';
import { REPLACED_PROGRAMS } from './verb-table.js';

/** The name, and the arguments that are that program's. `file`: the path that the program was started by. Throws `UsageError` for a tool that it is not in place of. */
export function calledAs(file: string, args: readonly string[]): { program: string; args: readonly string[] } {
  const [first, ...rest] = args;
  if (!first?.startsWith(AS)) return { program: file.slice(file.lastIndexOf('/') + 1), args };
  const program = first.slice(AS.length);
  const known = [QEMU_IMG, ...Object.keys(REPLACED_PROGRAMS)];
  if (known.includes(program)) return { program, args: rest };
  throw new UsageError(`Unknown program '${program}': ${AS} takes ${known.join(', ')}`, true);
}
