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

/** The lines of standard input. `interrupted`: Ctrl-C was typed. */
export async function standardLines(interrupted: () => void): Promise<Lines> {
  return process.stdin.isTTY ? terminalLines(interrupted) : pipedLines();
}

async function terminalLines(interrupted: () => void): Promise<Lines> {
  const { createInterface } = await import('node:readline');
  const names = COMMANDS.map(({ name }) => name);
  const reader = createInterface({
    input: process.stdin,
    output: process.stdout,
    terminal: true,
    historySize: 1000,
    removeHistoryDuplicates: true,
    completer: (line: string) => [names.filter((name) => name.startsWith(line)), line],
  });
  let ended = false;
  let answer: ((line: string | null) => void) | null = null;
  const give = (line: string | null): void => {
    const to = answer;
    answer = null;
    to?.(line);
  };
  const typedAhead: string[] = [];
  reader.on('line', (line) => (answer === null ? typedAhead.push(line) : give(line)));
  reader.on('close', () => {
    ended = true;
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
