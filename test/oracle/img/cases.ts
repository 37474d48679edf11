// The cases: text files, a command line a line.
//
//   # a comment
//   info --output={human|json} a.qcow2           one case for each choice; several of them: each with each
//   resize a.qcow2 +1M ; check a.qcow2           commands one after the other, in one folder
//   !reason: convert -n a.qcow2 x                we differ on purpose; `reason` is a heading of docs/differences.md
//   create 'a b' 1M                              quotes as in a shell

import { readFileSync } from 'node:fs';

export interface Case {
  /** As it is written, with its choices made. */
  text: string;
  commands: readonly (readonly string[])[];
  /** Why the results differ; null: they are the same. */
  reason: string | null;
}

/** The cases of `cases/NAME.txt`. */
export function casesOf(name: string): Case[] {
  const lines = readFileSync(new URL(`cases/${name}.txt`, import.meta.url), 'utf8').split('\n');
  return lines.filter((line) => line.trim() !== '' && !line.startsWith('#')).flatMap(expand);
}

function expand(line: string): Case[] {
  const [, reason = null, text] = /^(?:!([\w-]+): )?(.*)$/.exec(line) as RegExpExecArray;
  return choices(text).map((chosen) => ({ text: chosen, commands: chosen.split(' ; ').map(words), reason }));
}

/** `{a|b}` becomes `a` and `b`; braces without a bar are those of JSON. */
function choices(text: string): string[] {
  const found = /\{([^{}"]*\|[^{}"]*)\}/.exec(text);
  if (found === null) return [text];
  const before = text.slice(0, found.index);
  const after = choices(text.slice(found.index + found[0].length));
  return found[1].split('|').flatMap((choice) => after.map((rest) => before + choice + rest));
}

/** Words as a shell splits them, with single quotes only. */
function words(command: string): string[] {
  const found = command.trim().match(/(?:'[^']*'|[^\s'])+/g) ?? [];
  return found.map((word) => word.replaceAll("'", ''));
}
