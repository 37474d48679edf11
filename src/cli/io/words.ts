// Words of a command: they are separated by spaces and by nothing else, and options may stand between the operands, as the C library's getopt has it.

import { program, write, writeMessage } from '../output.js';
import type { GivenWords, IoCommand, IoOutcome } from './command.js';

/** A quote is a character like any other, as with qemu-io. */
export function splitWords(line: string): string[] {
  return line.split(' ').filter((word) => word !== '');
}

/** Sorts words into options and operands. An outcome after a wrong option was reported, or where one option was all of the command. */
export function parseWords(called: string, words: readonly string[], command: IoCommand): GivenWords | IoOutcome {
  const known = command.options;
  const options: (readonly [string, string])[] = [];
  const numbers = new Map<string, number>();
  const operands: string[] = [];
  for (let at = 0; at < words.length; at++) {
    const word = words[at];
    if (known === undefined || !word.startsWith('-') || word === '-') {
      operands.push(word);
      continue;
    }
    if (word === '--') {
      operands.push(...words.slice(at + 1));
      break;
    }
    for (let index = 1; index < word.length; index++) {
      const letter = word[index];
      let argument: string | undefined = '';
      let option = letter === ':' ? undefined : known[letter];
      if (option === undefined && letter !== ':' && known[`${letter}:`] !== undefined) {
        option = known[`${letter}:`];
        argument = word.slice(index + 1) || words[++at];
        index = word.length;
      }
      if (option === undefined) return wrong(`${called}: invalid option -- '${letter}'`, command);
      if (argument === undefined) return wrong(`${called}: option requires an argument -- '${letter}'`, command);
      if (typeof option !== 'string') {
        const { read, alone } = option;
        if (alone !== undefined) return alone();
        const number = read?.(argument);
        if (number === null) return 'failed';
        if (number !== undefined) numbers.set(letter, number);
      }
      options.push([letter, argument]);
    }
  }
  return {
    options,
    operands,
    has: (letter) => options.some(([one]) => one === letter),
    get: (letter) => options.findLast(([one]) => one === letter)?.[1],
    number: (letter) => numbers.get(letter),
  };
}

function wrong(message: string, command: IoCommand): IoOutcome {
  writeMessage(message);
  return misused(command);
}

/** Shows how the command is used: its words are wrong. */
export function misused(command: IoCommand): IoOutcome {
  write(usageOf(command));
  return 'failed';
}

/** `read [-bCpqv] off len -- what it does` */
export function usageOf({ name, synopsis, summary }: IoCommand): string {
  return `${[name, synopsis].filter(Boolean).join(' ')} -- ${summary}\n`;
}

/** The words may be `least` to `most`: what is said otherwise; null where they are. */
export function countComplaint(called: string, count: number, [least, most]: IoCommand['words']): string | null {
  if (count >= least && count <= most) return null;
  const expected =
    most === Number.POSITIVE_INFINITY
      ? `at least ${least}`
      : least === most
        ? String(least)
        : `between ${least} and ${most}`;
  return `bad argument count ${count} to ${called}, expected ${expected} arguments`;
}

/** What the prompt shows. */
export function prompt(): string {
  return `${program()}> `;
}
