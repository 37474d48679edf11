// Where commands come from: a terminal, with editing and a history, or a pipe or file, one line after the other.

import { decodeName } from '../../util/name-bytes.js';
import { write } from '../output.js';
import { COMMANDS } from './commands.js';
import { prompt } from './words.js';

/** Lines are asked for one by one; null: there are no more. */
export interface Lines {
  next(): Promise<string | null>;
  close(): void;
}

/**
 * The lines of standard input. `interrupted`: Ctrl-C was typed. Where standard output is no terminal, lines are edited by the system's means: what is printed
 * goes to a program or a file, which must get no control characters.
 */
export function standardLines(interrupted: () => void): Lines {
  return process.stdin.isTTY && process.stdout.isTTY ? terminalLines(interrupted) : pipedLines();
}

function terminalLines(interrupted: () => void): Lines {
  // Not by `import()`: in compiled code from the cache, node has no loader for it.
  const { createInterface } = process.getBuiltinModule('node:readline');
  const names = COMMANDS.map(({ name }) => name);
  const reader = createInterface({
    input: process.stdin,
    output: process.stdout,
    terminal: true,
    historySize: 1000,
    removeHistoryDuplicates: true,
    completer: (line: string) => [names.filter((name) => name.startsWith(line)).map((name) => `${name} `), line],
  });
  let ended = false;
  let answer: ((line: string | null) => void) | null = null;
  const give = (line: string | null): void => {
    const to = answer;
    answer = null;
    // While a command runs the terminal is as usual: Ctrl-C is a signal, and a program that ends at once leaves nothing to be mended.
    process.stdin.setRawMode(false);
    to?.(line);
  };
  const typedAhead: string[] = [];
  reader.on('line', (line) => (answer === null ? typedAhead.push(line) : give(line)));
  reader.on('close', () => {
    ended = true;
    // The prompt has a line of its own, also where it gets no answer (Ctrl-D, Ctrl-C).
    if (answer !== null) write('\n');
    give(null);
  });
  reader.on('SIGINT', interrupted);
  return {
    next() {
      const line = typedAhead.shift();
      if (line !== undefined) return Promise.resolve(line);
      if (ended) return Promise.resolve(null);
      return new Promise((resolve) => {
        answer = resolve;
        process.stdin.setRawMode(true);
        reader.setPrompt(prompt());
        reader.prompt();
      });
    },
    close: () => reader.close(),
  };
}

const LINE_FEED = 10;

function pipedLines(): Lines {
  const lines = split(process.stdin);
  return {
    async next() {
      write(prompt());
      const { value, done } = await lines.next();
      return done ? null : decodeName(value);
    },
    close: () => process.stdin.destroy(),
  };
}

/** Lines without their line feeds; the last one may have none. */
async function* split(input: AsyncIterable<Buffer>): AsyncGenerator<Buffer, undefined, undefined> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of input) {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let start = 0;
    for (let end = rest.indexOf(LINE_FEED); end >= 0; end = rest.indexOf(LINE_FEED, start)) {
      yield rest.subarray(start, end);
      start = end + 1;
    }
    rest = rest.subarray(start);
  }
  if (rest.length > 0) yield rest;
  return undefined;
}
