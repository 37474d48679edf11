// `diskwright completion`: prints what a shell completes this command line with.

import { HELP } from '../arguments.js';
import { bashCompletion } from '../completion/bash.js';
import { fishCompletion } from '../completion/fish.js';
import { type CompletedTables, completedProgram } from '../completion/words.js';
import { zshCompletion } from '../completion/zsh.js';
import { formatNames } from '../format-names.js';
import { type ParsedOptions, UsageError } from '../getopt.js';
import { PROGRAM, QEMU_IMG, SHIMS, write } from '../output.js';
import type { Verb } from '../verb.js';

const SHELLS = { bash: bashCompletion, zsh: zshCompletion, fish: fishCompletion } as const;

/** The verb, which completes what is in `tables`. */
export function completionOf(tables: CompletedTables): { verb: Verb } {
  return { verb: { ...VERB, run: (options) => run(options, tables) } };
}

const VERB: Omit<Verb, 'run'> = {
  name: 'completion',
  opensNoImage: true,
  operands: Object.keys(SHELLS),
  laterOperands: SHIMS,
  synopsis: 'bash|zsh|fish [PROGRAM]',
  description:
    'Prints a script with which a shell completes verbs, options, what their arguments may be (formats, cache modes, ...), the options of a format behind -o, and names of files.\n\nPROGRAM is a name of a tool of QEMU (qemu-img, qemu-io, qemu-nbd) that a script of "diskwright shims" has; its own command line is completed then. Default: diskwright.',
  options: [HELP],
  notes: [
    ['Exit codes', '0  done\n1  failed'],
    [
      'Where it goes',
      'bash: into ~/.bashrc, eval "$(diskwright completion bash)"\nzsh: into a folder of $fpath, as _diskwright\nfish: into ~/.config/fish/completions/diskwright.fish',
    ],
  ],
  examples: [
    [
      'diskwright completion bash > ~/.local/share/bash-completion/completions/diskwright',
      'for bash, read when it is needed; the folder must be there',
    ],
    ['diskwright completion fish > ~/.config/fish/completions/diskwright.fish', 'for fish, the same'],
    [
      'diskwright completion bash qemu-img > ~/.local/share/bash-completion/completions/qemu-img',
      'for qemu-img, as "diskwright shims" makes it; the real one has the same options',
    ],
  ],
};

async function run(options: ParsedOptions, tables: CompletedTables): Promise<number> {
  const [shell, called = PROGRAM, extra] = options.positional;
  if (shell === undefined) throw new UsageError('Expecting the name of a shell: bash, zsh or fish', true);
  if (extra !== undefined) throw new UsageError(`Unexpected argument: ${extra}`, true);
  if (!Object.hasOwn(SHELLS, shell)) {
    throw new UsageError(`There is no completion for '${shell}': use one of ${Object.keys(SHELLS).join(', ')}`);
  }
  const programs = [PROGRAM, QEMU_IMG, ...Object.keys(tables.replaced)];
  if (!programs.includes(called)) {
    throw new UsageError(`There is no completion for '${called}': use one of ${programs.join(', ')}`);
  }
  const script = SHELLS[shell as keyof typeof SHELLS];
  write(script(await completedProgram(called, tables, formatNames())));
  return 0;
}
