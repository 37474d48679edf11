// Completion for fish: a line for each verb, and for each option of a verb.

import { eachList } from './lists.js';
import { type CompletedOption, type CompletedProgram, type CompletedVerb, madeBy, namesWithArgument } from './words.js';

/** Functions that complete the list of `-o`: the options are those of the format that is named, and what stands before the last item stays. */
function listFunctions(program: string): string {
  const cases = eachList().flatMap(([kind, format, options]) => [
    `        case ${kind}:${format}:\n            printf '%s=\\n' ${options.map(({ name }) => name).join(' ')}`,
    ...options
      .filter(({ values }) => values.length > 0)
      .map(
        ({ name, values }) => `        case ${kind}:${format}:${name}\n            printf '%s\\n' ${values.join(' ')}`,
      ),
  ]);
  return LISTS.replace('CASES', () => cases.join('\n')).replaceAll('PROGRAM', program);
}

const LISTS = `function __PROGRAM_words
    switch $argv[1]
CASES
    end
end

# The format that one of the options $argv names.
function __PROGRAM_format
    set -l format
    set -l before
    for word in (commandline -op)
        for name in $argv
            if test "$before" = $name
                set format $word
            else if string match -q -- '--*' $name
                string match -q -- "$name=*" $word; and set format (string split -m 1 = -- $word)[2]
            else if string match -q -- "$name?*" $word
                set format (string sub -s 3 -- $word)
            end
        end
        set before $word
    end
    echo $format
end

# $argv: the kind of list, and the options that name the format.
function __PROGRAM_list
    set -l list $argv[1]:(__PROGRAM_format $argv[2..]):
    if not __PROGRAM_words $list | string length -q
        set list $argv[1]::
    end
    set -l head (string replace -r '[^,]*$' '' -- (commandline -ct))
    set -l item (string replace -r '^.*,' '' -- (commandline -ct))
    if string match -q '*=*' -- $item
        set -l name (string split -m 1 = -- $item)[1]
        for value in (__PROGRAM_words $list$name)
            echo $head$name=$value
        end
        return
    end
    for name in (__PROGRAM_words $list)
        echo $head$name
    end
end

# Whether an operand of the verb $argv[1] stands before the word that is typed; behind it the options that take an argument.
function __PROGRAM_later
    set -l words (commandline -opc)
    test "$words[2]" = $argv[1]; or return 1
    set -l skips 0
    for word in $words[3..]
        if test $skips = 1
            set skips 0
        else if contains -- $word $argv[2..]
            set skips 1
        else if not string match -q -- '-*' $word
            return 0
        end
    end
    return 1
end
`;

export function fishCompletion({ name: program, alone, verbs, general }: CompletedProgram): string {
  const lines = [
    `# Completion of ${program} for fish, made by "${madeBy(program, 'fish')}".`,
    '',
    listFunctions(program),
  ];
  for (const { name, help, values } of general) {
    const argument = values === undefined ? '-f' : `-x -a ${quoted(values.join(' '))}`;
    lines.push(`complete -c ${program} -n __fish_use_subcommand ${argument} -l ${name.slice(2)} -d ${quoted(help)}`);
  }
  for (const { name, summary } of verbs) {
    lines.push(`complete -c ${program} -n __fish_use_subcommand -f -a ${name} -d ${quoted(summary)}`);
  }
  for (const verb of verbs) {
    lines.push(...verbLines(program, `-n ${quoted(`test (commandline -opc)[2] = ${verb.name} 2>/dev/null`)} `, verb));
  }
  if (alone !== undefined) lines.push(...verbLines(program, '', alone));
  return `${lines.join('\n')}\n`;
}

function verbLines(program: string, condition: string, verb: CompletedVerb): string[] {
  const { name, options, operands, later } = verb;
  const start = `complete -c ${program} ${condition}`;
  const lines = options.map((option) => `${start}${optionWords(program, option)}`);
  if (later !== undefined) {
    const isLater = [`__${program}_later`, name, ...namesWithArgument(verb)].join(' ');
    const words = later.length === 0 ? '' : ` -a ${quoted(later.join(' '))}`;
    lines.push(`complete -c ${program} -n ${quoted(isLater)} -f${words}`);
    if (typeof operands === 'object') {
      const isFirst = `test (commandline -opc)[2] = ${name} 2>/dev/null; and not ${isLater}`;
      return [...lines, `complete -c ${program} -n ${quoted(isFirst)} -f -a ${quoted(operands.join(' '))}`];
    }
  }
  if (operands === 'folders') return [...lines, `${start}-f -a '(__fish_complete_directories)'`];
  return operands === 'files' ? lines : [...lines, `${start}-f -a ${quoted(operands.join(' '))}`];
}

function optionWords(program: string, { names, argument, values, help }: CompletedOption): string {
  const given = names.map((name) => (name.startsWith('--') ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`));
  const what = `-d ${quoted(help)}`;
  if (argument === undefined) return [...given, what].join(' ');
  if (values === 'files') return [...given, '-r -F', what].join(' ');
  if (typeof values === 'object' && 'kind' in values)
    return [
      ...given,
      '-x',
      `-a ${quoted(`(__${program}_list ${[values.kind, ...values.format].join(' ')})`)}`,
      what,
    ].join(' ');
  return [...given, '-x', ...(values === 'anything' ? [] : [`-a ${quoted(values.join(' '))}`]), what].join(' ');
}

/** As fish reads it: a quote and a backslash are escaped. */
function quoted(text: string): string {
  return `'${text.replaceAll(/['\\]/g, (letter) => `\\${letter}`)}'`;
}
