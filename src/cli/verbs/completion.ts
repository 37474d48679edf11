// `diskwright completion`: prints what a shell completes this command line with.

import { HELP } from '../arguments.js';
import { bashCompletion } from '../completion/bash.js';
import { fishCompletion } from '../completion/fish.js';
import { completedVerbs } from '../completion/words.js';
import { zshCompletion } from '../completion/zsh.js';
import { formatNames } from '../format-names.js';
import { type ParsedOptions, UsageError } from '../getopt.js';
import { PROGRAM, write } from '../output.js';
import type { ListedVerb, Verb } from '../verb.js';

const SHELLS = { bash: bashCompletion, zsh: zshCompletion, fish: fishCompletion } as const;

/** The verb, which completes the verbs of `listed`. */
export function completionOf(listed: Readonly<Record<string, ListedVerb>>): { verb: Verb } {
  return { verb: { ...VERB, run: (options) => run(options, listed) } };
}

const VERB: Omit<Verb, 'run'> = {
  name: 'completion',
  opensNoImage: true,
  operands: Object.keys(SHELLS),
  synopsis: 'bash|zsh|fish',
  description:
    'Prints a script with which a shell completes verbs, options, what their arguments may be (formats, cache modes, ...) and names of files.',
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
  ],
};

async function run(options: ParsedOptions, listed: Readonly<Record<string, ListedVerb>>): Promise<number> {
  const [shell, extra] = options.positional;
  if (shell === undefined || extra !== undefined) throw new UsageError('Expecting the name of one shell', true);
  if (!Object.hasOwn(SHELLS, shell)) {
    throw new UsageError(`There is no completion for '${shell}': use one of ${Object.keys(SHELLS).join(', ')}`);
  }
  const script = SHELLS[shell as keyof typeof SHELLS];
  write(script(PROGRAM, await completedVerbs(listed, formatNames())));
  return 0;
}
