// Completion for zsh: a function for its completion system, in a file called _PROGRAM of a folder of $fpath.

import { allListed, optionLists } from './lists.js';
import type { CompletedOption, CompletedVerb } from './words.js';

export function zshCompletion(program: string, verbs: readonly CompletedVerb[]): string {
  const described = verbs.map(({ name, summary }) => `    ${quoted(`${name}:${escaped(summary)}`)}`);
  const cases = verbs.map(({ name, options, operands }) => {
    const lines = [...options.flatMap(specsOf), operandSpec(operands)].map(quoted);
    return `    ${name})\n      _arguments -s -S ${lines.join(' \\\n        ')} ;;`;
  });
  return `#compdef ${program}
# Completion of ${program} for zsh, made by "${program} completion zsh".

${listFunctions().join('\n')}
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
  const action = actionOf(values);
  return names.map((name) => `*${name}${name.startsWith('--') ? '=' : '+'}${what}:${escaped(argument)}:${action}`);
}

function actionOf(values: CompletedOption['values']): string {
  if (values === 'files') return '_files';
  if (values === 'anything') return ' ';
  return 'kind' in values ? `_diskwright_${values.kind}` : `(${values.join(' ')})`;
}

/** A function for each kind of list: `cluster_size=...,compat=...`. */
function listFunctions(): string[] {
  return Object.entries(optionLists()).map(([kind, formats]) => {
    const specs = allListed(formats).map(({ name, values }) =>
      quoted(`${name}:value:${values.length === 0 ? ' ' : `(${values.join(' ')})`}`),
    );
    return `_diskwright_${kind}() {\n  _values -s , option ${specs.join(' ')}\n}\n`;
  });
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
