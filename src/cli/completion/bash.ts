// Completion for bash. A word with `=` in it arrives there as three: `--output`, `=`, `js`. In the parts of the script here, `PROGRAM` stands for the program that is completed.

import { eachList, type ListedOption } from './lists.js';
import { type CompletedOption, type CompletedProgram, type CompletedVerb, madeBy } from './words.js';

export function bashCompletion(completed: CompletedProgram): string {
  const { name: program, alone, verbs: several } = completed;
  const verbs = alone === undefined ? several : [alone];
  const script = [
    `# Completion of ${program} for bash, made by "${madeBy(program, 'bash')}".`,
    ANSWERS,
    functionOf('listed', '', listCases()),
    LIST,
    functionOf('options', '', verbs.map(optionsCase)),
    functionOf(
      'argument',
      '# Completes the argument of the option that stands before it. Fails where none does, or it takes none.',
      [...argumentCases(verbs), '    *) return 1 ;;'],
    ),
    LATER.replace('CASES', () => verbs.flatMap(laterCase).join('\n')),
    mainFunction(completed, verbs),
    'complete -F _PROGRAM PROGRAM',
  ].join('\n\n');
  return `${script.replaceAll('PROGRAM', program)}\n`;
}

/** A function that chooses by its first argument. */
function functionOf(name: string, comment: string, cases: readonly string[]): string {
  return `${comment === '' ? '' : `${comment}\n`}_PROGRAM_${name}() {
  case $1 in
${cases.join('\n')}
  esac
}`;
}

/** `verbs`: the only one of a program that has one. */
function mainFunction({ alone, general }: CompletedProgram, verbs: readonly CompletedVerb[]): string {
  const beginning = alone === undefined ? verbFrom(verbs, general) : `  verb=${alone.name}`;
  // The first word that may be an option, or the argument of one.
  const first = alone === undefined ? 2 : 1;
  return `_PROGRAM() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD - 1]} verb
  COMPREPLY=()
${beginning}
  # The word as it was typed, put together again.
  local at=$COMP_CWORD value=$cur
  while ((at > ${first})) && [[ \${COMP_WORDS[at]} == = || \${COMP_WORDS[at - 1]} == = ]]; do
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
  if _PROGRAM_later "$verb" ${first}; then
    return
  fi
  case $verb in
${[...verbs.flatMap(operandCase), '    *) _PROGRAM_files -f ;;'].join('\n')}
  esac
}`;
}

/** The verb is the first word. While that is typed, it is completed, as an option in its place is. */
function verbFrom(verbs: readonly CompletedVerb[], general: CompletedProgram['general']): string {
  const inPlace = general.flatMap(({ name, values }) => values?.map((value) => `${name}=${value}`) ?? [name]);
  return `  verb=\${COMP_WORDS[1]}
  if ((COMP_CWORD == 1)); then
    _PROGRAM_words ${quoted([...verbs.map(({ name }) => name), ...inPlace])}
    return
  fi
  if [[ $verb == -* ]] && ((COMP_CWORD <= 3)); then
    local given=$cur
    if [[ $cur == = ]]; then cur=; fi
    case $verb in
${general.flatMap(valuedCase).join('\n')}
    esac
    cur=$given
  fi`;
}

function optionsCase({ name, options }: CompletedVerb): string {
  return `    ${name}) echo ${quoted(options.flatMap(({ names }) => names))} ;;`;
}

function operandCase({ name, operands }: CompletedVerb): string[] {
  if (operands === 'files') return [];
  return [`    ${name}) ${operands === 'folders' ? '_PROGRAM_files -d' : `_PROGRAM_words ${quoted(operands)}`} ;;`];
}

function laterCase({ name, later }: CompletedVerb): string[] {
  return later === undefined ? [] : [`    ${name}) _PROGRAM_words ${quoted(later)} ;;`];
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

/** Answers: words, and names of files. */
const ANSWERS = `_PROGRAM_words() {
  mapfile -t COMPREPLY < <(compgen -W "$1" -- "$cur")
}

# Names of files (-f) or folders (-d).
_PROGRAM_files() {
  compopt -o filenames 2>/dev/null
  mapfile -t COMPREPLY < <(compgen "$1" -- "$cur")
}`;

/** Completes the operands behind the first one, where they are something else. */
const LATER = `# Fails where no operand of the verb $1 stands before the word that is typed, or all of its operands are the same. The first word that may be one is $2.
_PROGRAM_later() {
  local index word found=
  for ((index = $2; index < at; index++)); do
    word=\${COMP_WORDS[index]}
    if [[ $word == = ]]; then
      ((index++))
    elif [[ $word != -?* ]]; then
      found=1
    elif [[ \${COMP_WORDS[index + 1]} != = ]] && (_PROGRAM_argument "$1:$word"); then
      ((index++))
    fi
  done
  if [[ -z $found ]]; then
    return 1
  fi
  case $1 in
CASES
    *) return 1 ;;
  esac
}`;

/** What completes a list `name=value,...`. */
const LIST = `# A name or a value in the list that an option takes ($1: of which kind, $2: the options that name the format).
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
}`;
