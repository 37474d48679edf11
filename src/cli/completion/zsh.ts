// Completion for zsh: a function for its completion system, in a file called _PROGRAM of a folder of $fpath.

import type { CompletedOption, CompletedVerb } from './words.js';

export function zshCompletion(program: string, verbs: readonly CompletedVerb[]): string {
  const described = verbs.map(({ name, summary }) => `    ${quoted(`${name}:${escaped(summary)}`)}`);
  const cases = verbs.map(({ name, options, operands }) => {
    const lines = [...options.flatMap(specsOf), operandSpec(operands)].map(quoted);
    return `    ${name})\n      _arguments -s -S ${lines.join(' \\\n        ')} ;;`;
  });
  return `#compdef ${program}
# Completion of ${program} for zsh, made by "${program} completion zsh".

_${program}() {
  local -a verbs
  verbs=(
${described.join('\n')}
  )
  if ((CURRENT == 2)); then
    _describe command verbs
    compadd -- --as=qemu-img --as=qemu-io --as=qemu-nbd
    return
  fi
  shift words
  ((CURRENT--))
  case $words[1] in
${cases.join('\n')}
  esac
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
  _${program} "$@"
else
  compdef _${program} ${program}
fi
`;
}

/** A description for each name of an option: `*--output=[help]:FORMAT:(human json)`. */
function specsOf({ names, argument, values, help }: CompletedOption): string[] {
  const what = `[${escaped(help)}]`;
  if (argument === undefined) return names.map((name) => `*${name}${what}`);
  const action = values === 'files' ? '_files' : values === 'anything' ? ' ' : `(${values.join(' ')})`;
  return names.map((name) => `*${name}${name.startsWith('--') ? '=' : '+'}${what}:${escaped(argument)}:${action}`);
}

function operandSpec(operands: CompletedVerb['operands']): string {
  if (operands === 'files') return '*:file:_files';
  return operands === 'folders' ? '*:folder:_files -/' : `*:word:(${operands.join(' ')})`;
}

/** Brackets and colons have a meaning there. */
function escaped(text: string): string {
  return text.replaceAll(/[[\]:\\]/g, (letter) => `\\${letter}`);
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
