// Completion for bash. A word with `=` in it arrives there as three: `--output`, `=`, `js`.

import { eachList, type ListedOption } from './lists.js';
import { type CompletedOption, type CompletedProgram, type CompletedVerb, madeBy } from './words.js';

export function bashCompletion({ name: program, alone, verbs: several, general }: CompletedProgram): string {
  const verbs = alone === undefined ? several : [alone];
  const options = verbs.map(
    ({ name, options }) => `    ${name}) echo ${quoted(options.flatMap(({ names }) => names))} ;;`,
  );
  const operands = verbs.flatMap(({ name, operands }) => {
    if (operands === 'files') return [];
    return [`    ${name}) ${operands === 'folders' ? '_PROGRAM_files -d' : `_PROGRAM_words ${quoted(operands)}`} ;;`];
  });
  const { words, first } = alone === undefined ? { words: WITH_VERBS, first: 2 } : { words: ALONE, first: 1 };
  const inPlace = general.flatMap(({ name, values }) => values?.map((value) => `${name}=${value}`) ?? [name]);
  return SCRIPT.replace('BEGINNING', () => words)
    .replace('MADE_BY', madeBy(program, 'bash'))
    .replace('FIRST', String(first))
    .replace('OPTIONS', () => options.join('\n'))
    .replace('ARGUMENTS', () => argumentCases(verbs).join('\n'))
    .replace('OPERANDS', () => operands.join('\n'))
    .replace('LISTS', () => listCases().join('\n'))
    .replace('VERBS', () => verbs.map(({ name }) => name).join(' '))
    .replace('GENERAL', () => inPlace.join(' '))
    .replace('VALUED', () => general.flatMap(valuedCase).join('\n'))
    .replaceAll('PROGRAM', program);
}

/** A case for each option with an argument, `VERB:OPTION`; those with the same answer are one. */
function argumentCases(verbs: readonly CompletedVerb[]): string[] {
  const cases = new Map<string, string[]>();
  for (const { name, options } of verbs) {
    for (const option of options) {
      if (option.argument === undefined) continue;
      const answer = answerOf(option);
      cases.set(answer, [...(cases.get(answer) ?? []), ...option.names.map((given) => `${name}:${given}`)]);
    }
  }
  return [...cases].map(([answer, patterns]) => `    ${patterns.join('|')}) ${answer} ;;`);
}

function answerOf({ values }: CompletedOption): string {
  if (values === 'files') return '_PROGRAM_files -f';
  if (values === 'anything') return ':';
  if ('kind' in values) return `_PROGRAM_list ${values.kind} ${quoted(values.format)}`;
  return `_PROGRAM_words ${quoted(values)}`;
}

/** An option in the place of a verb, with its argument behind `=`. */
function valuedCase({ name, values }: CompletedProgram['general'][number]): string[] {
  return values === undefined ? [] : [`    ${name}) _PROGRAM_words ${quoted(values)}; return ;;`];
}

/** For each kind and format the names (`create:qcow2:`) and the values (`create:qcow2:compat`). */
function listCases(): string[] {
  return eachList().flatMap(([kind, format, options]) => casesOf(`${kind}:${format}:`, options));
}

function casesOf(start: string, options: readonly ListedOption[]): string[] {
  const valued = options.filter(({ values }) => values.length > 0);
  return [
    `    ${start}) echo ${quoted(options.map(({ name }) => name))} ;;`,
    ...valued.map(({ name, values }) => `    ${start}${name}) echo ${quoted(values)} ;;`),
  ];
}

function quoted(words: readonly string[]): string {
  return `'${words.join(' ')}'`;
}

const WITH_VERBS = `  verb=\${COMP_WORDS[1]}
  if ((COMP_CWORD == 1)); then
    _PROGRAM_words 'VERBS GENERAL'
    return
  fi
  if [[ $verb == -* ]] && ((COMP_CWORD <= 3)); then
    local given=$cur
    if [[ $cur == = ]]; then cur=; fi
    case $verb in
VALUED
    esac
    cur=$given
  fi`;

const ALONE = '  verb=VERBS';

const SCRIPT = `# Completion of PROGRAM for bash, made by "MADE_BY".

_PROGRAM_words() {
  mapfile -t COMPREPLY < <(compgen -W "$1" -- "$cur")
}

# Names of files (-f) or folders (-d).
_PROGRAM_files() {
  compopt -o filenames 2>/dev/null
  mapfile -t COMPREPLY < <(compgen "$1" -- "$cur")
}

_PROGRAM_listed() {
  case $1 in
LISTS
  esac
}

# A name or a value in the list that an option takes ($1: of which kind, $2: the options that name the format).
_PROGRAM_list() {
  local item=\${value##*,} word before= format=
  for word in "\${COMP_WORDS[@]}"; do
    if [[ $word == = ]]; then continue; fi
    if [[ -n $before && " $2 " == *" $before "* ]]; then format=$word; fi
    if [[ $word == -[!-]?* && " $2 " == *" \${word:0:2} "* ]]; then format=\${word:2}; fi
    before=$word
  done
  if [[ -z $(_PROGRAM_listed "$1:$format:") ]]; then format=; fi
  if [[ $item == *=* ]]; then
    _PROGRAM_words "$(_PROGRAM_listed "$1:$format:\${item%%=*}")"
    return
  fi
  compopt -o nospace 2>/dev/null
  local head=\${cur%"$item"}
  mapfile -t COMPREPLY < <(compgen -P "$head" -S = -W "$(_PROGRAM_listed "$1:$format:")" -- "$item")
}

_PROGRAM_options() {
  case $1 in
OPTIONS
  esac
}

# Completes the argument of the option that stands before it. Fails where none does, or it takes none.
_PROGRAM_argument() {
  case $1 in
ARGUMENTS
    *) return 1 ;;
  esac
}

_PROGRAM() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD - 1]} verb
  COMPREPLY=()
BEGINNING
  # The word as it was typed, put together again.
  local at=$COMP_CWORD value=$cur
  while ((at > FIRST)) && [[ \${COMP_WORDS[at]} == = || \${COMP_WORDS[at - 1]} == = ]]; do
    ((at--))
    value=\${COMP_WORDS[at]}$value
  done
  prev=\${COMP_WORDS[at - 1]}
  if [[ $value == --*=* ]]; then
    prev=\${value%%=*}
    value=\${value#*=}
  fi
  if [[ $cur == = ]]; then cur=; fi
  if _PROGRAM_argument "$verb:$prev"; then
    return
  fi
  if [[ $cur == -* ]]; then
    _PROGRAM_words "$(_PROGRAM_options "$verb")"
    return
  fi
  case $verb in
OPERANDS
    *) _PROGRAM_files -f ;;
  esac
}

complete -F _PROGRAM PROGRAM
`;
