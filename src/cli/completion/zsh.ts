// Completion for zsh: a function for its completion system, in a file called _PROGRAM of a folder of $fpath.

import { eachList } from './lists.js';
import { type CompletedOption, type CompletedProgram, type CompletedVerb, madeBy } from './words.js';

export function zshCompletion({ name: program, alone, verbs, general }: CompletedProgram): string {
  const body =
    alone === undefined ? bodyOfVerbs(program, verbs, general) : `  ${argumentsOf(program, alone, '      ')}`;
  return `#compdef ${program}
# Completion of ${program} for zsh, made by "${madeBy(program, 'zsh')}".

${listFunction(program)}
_${program}() {
${body}
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
  _${program} "$@"
else
  compdef _${program} ${program}
fi
`;
}

function bodyOfVerbs(program: string, verbs: readonly CompletedVerb[], general: CompletedProgram['general']): string {
  const described = verbs.map(({ name, summary }) => `    ${quoted(`${name}:${escaped(summary)}`)}`);
  const cases = verbs.map((verb) => `    ${verb.name})\n      ${argumentsOf(program, verb, '        ')} ;;`);
  const inPlace = general.flatMap(({ name, values }) => values?.map((value) => `${name}=${value}`) ?? [name]);
  return `  local -a verbs
  verbs=(
${described.join('\n')}
  )
  if ((CURRENT == 2)); then
    _describe command verbs
    compadd -- ${inPlace.join(' ')}
    return
  fi
  shift words
  ((CURRENT--))
  case $words[1] in
${cases.join('\n')}
  esac`;
}

function argumentsOf(program: string, { options, operands, later }: CompletedVerb, margin: string): string {
  const ofOperands =
    later === undefined ? [operandSpec('*', operands)] : [operandSpec('1', operands), operandSpec('*', later)];
  const lines = [...options.flatMap((option) => specsOf(program, option)), ...ofOperands].map(quoted);
  return `_arguments -s -S ${lines.join(` \\\n${margin}`)}`;
}

/** A description for each name of an option: `*--output=[help]:FORMAT:(human json)`. */
function specsOf(program: string, { names, argument, values, help }: CompletedOption): string[] {
  const what = `[${escaped(help)}]`;
  if (argument === undefined) return names.map((name) => `*${name}${what}`);
  const action = actionOf(program, values);
  return names.map((name) => `*${name}${name.startsWith('--') ? '=' : '+'}${what}:${escaped(argument)}:${action}`);
}

function actionOf(program: string, values: CompletedOption['values']): string {
  if (values === 'files') return '_files';
  if (values === 'anything') return ' ';
  // With a blank in front the words are called as they are.
  return 'kind' in values ? ` _${program}_list ${[values.kind, ...values.format].join(' ')}` : `(${values.join(' ')})`;
}

/** The function that completes the list of `-o`, `cluster_size=...,compat=...`: the options are those of the format that is named. */
function listFunction(program: string): string {
  const cases = eachList().map(([kind, format, options]) => {
    const specs = options.map(({ name, values }) =>
      quoted(`${name}:value:${values.length === 0 ? ' ' : `(${values.join(' ')})`}`),
    );
    return `    ${kind}:${format === '' ? '*' : format}) _values -s , option ${specs.join(' ')} ;;`;
  });
  return LIST.replace('CASES', () => cases.join('\n')).replaceAll('PROGRAM', program);
}

const LIST = `# $1: the kind of list; behind it the options that name the format.
_PROGRAM_list() {
  local kind=$1 format= before= word name
  shift
  for word in "\${(@Q)words}"; do
    for name in "$@"; do
      if [[ $before == "$name" ]]; then
        format=$word
      elif [[ $name == --* ]]; then
        if [[ $word == "$name"=* ]]; then format=\${word#*=}; fi
      elif [[ $word == "$name"?* ]]; then
        format=\${word[3,-1]}
      fi
    done
    before=$word
  done
  case $kind:$format in
CASES
  esac
}
`;

/** `which`: `1`, the first one, or `*`, all others. */
function operandSpec(which: '1' | '*', operands: CompletedVerb['operands']): string {
  if (operands === 'files') return `${which}:file:_files`;
  if (operands === 'folders') return `${which}:folder:_files -/`;
  return `${which}:word:${operands.length === 0 ? ' ' : `(${operands.join(' ')})`}`;
}

/** Brackets and colons have a meaning there. */
function escaped(text: string): string {
  return text.replaceAll(/[[\]:\\]/g, (letter) => `\\${letter}`);
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
