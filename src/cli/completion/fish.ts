// Completion for fish: a line for each verb, and for each option of a verb.

import { allListed, optionLists } from './lists.js';
import type { CompletedOption, CompletedVerb } from './words.js';

/** The function that completes the list of `-o`: what stands before its last item stays. */
const LISTED = '__diskwright_list';

function listFunction(): string[] {
  const values = Object.entries(optionLists()).flatMap(([kind, formats]) =>
    allListed(formats)
      .filter((option) => option.values.length > 0)
      .map((option) => `        case ${kind}:${option.name}\n            printf '%s\\n' ${option.values.join(' ')}`),
  );
  const names = Object.entries(optionLists()).map(
    ([kind, formats]) =>
      `        case ${kind}:\n            printf '%s=\\n' ${allListed(formats)
        .map(({ name }) => name)
        .join(' ')}`,
  );
  return [
    `function ${LISTED}_words`,
    '    switch $argv[1]',
    ...names,
    ...values,
    '    end',
    'end',
    `function ${LISTED}`,
    "    set -l head (string replace -r '[^,]*$' '' -- (commandline -ct))",
    "    set -l item (string replace -r '^.*,' '' -- (commandline -ct))",
    "    if string match -q '*=*' -- $item",
    '        set -l name (string split -m 1 = -- $item)[1]',
    `        for value in (${LISTED}_words $argv[1]:$name)`,
    '            echo $head$name=$value',
    '        end',
    '        return',
    '    end',
    `    for name in (${LISTED}_words $argv[1]:)`,
    '        echo $head$name',
    '    end',
    'end',
  ];
}

export function fishCompletion(program: string, verbs: readonly CompletedVerb[]): string {
  const lines = [
    `# Completion of ${program} for fish, made by "${program} completion fish".`,
    '',
    ...listFunction(),
    `complete -c ${program} -n __fish_use_subcommand -f -l help -d 'Show the general help'`,
    `complete -c ${program} -n __fish_use_subcommand -x -l as -a 'qemu-img qemu-io qemu-nbd' -d 'Take the command line of that tool'`,
    `complete -c ${program} -n __fish_use_subcommand -f -l version -d 'Show the version'`,
  ];
  for (const { name, summary } of verbs) {
    lines.push(`complete -c ${program} -n __fish_use_subcommand -f -a ${name} -d ${quoted(summary)}`);
  }
  for (const { name, options, operands } of verbs) {
    const start = `complete -c ${program} -n ${quoted(`test (commandline -opc)[2] = ${name} 2>/dev/null`)}`;
    for (const option of options) lines.push(`${start} ${optionWords(option)}`);
    if (operands === 'folders') lines.push(`${start} -f -a '(__fish_complete_directories)'`);
    else if (operands !== 'files') lines.push(`${start} -f -a ${quoted(operands.join(' '))}`);
  }
  return `${lines.join('\n')}\n`;
}

function optionWords({ names, argument, values, help }: CompletedOption): string {
  const given = names.map((name) => (name.startsWith('--') ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`));
  const what = `-d ${quoted(help)}`;
  if (argument === undefined) return [...given, what].join(' ');
  if (values === 'files') return [...given, '-r -F', what].join(' ');
  if (typeof values === 'object' && 'kind' in values)
    return [...given, '-x', `-a ${quoted(`(${LISTED} ${values.kind})`)}`, what].join(' ');
  return [...given, '-x', ...(values === 'anything' ? [] : [`-a ${quoted(values.join(' '))}`]), what].join(' ');
}

/** As fish reads it: a quote and a backslash are escaped. */
function quoted(text: string): string {
  return `'${text.replaceAll(/['\\]/g, (letter) => `\\${letter}`)}'`;
}
