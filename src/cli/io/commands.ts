// The commands of `diskwright io`, in the order of their names.

import { write } from '../output.js';
import { breakAt, removeBreak, resume, waitBreak } from './breaks.js';
import type { GivenWords, IoCommand, IoOutcome, IoState } from './command.js';
import { close, open, reopen } from './files.js';
import { abort, aioFlush, quit, sigraise, sleep } from './program.js';
import { aioRead, read, readv } from './reading.js';
import { alloc, discard, flush, info, length, map, truncate } from './space.js';
import { usageOf } from './words.js';
import { aioWrite, write as writeBytes, writev } from './writing.js';

const help: IoCommand = {
  name: 'help',
  alias: '?',
  synopsis: '[command]',
  summary: 'explains one command, or lists all',
  words: [0, 1],
  needsNoImage: true,
  run: runHelp,
};

export const COMMANDS: readonly IoCommand[] = [
  abort,
  aioFlush,
  aioRead,
  aioWrite,
  alloc,
  breakAt,
  close,
  discard,
  flush,
  help,
  info,
  length,
  map,
  open,
  quit,
  read,
  readv,
  removeBreak,
  reopen,
  resume,
  sigraise,
  sleep,
  truncate,
  waitBreak,
  writeBytes,
  writev,
];

/** Commands of later versions of qemu-io, for zoned devices. */
const REFUSED = /^zone_|^(zrp|zo|zc|zf|zrs|zap)$/;

export function isRefused(name: string): boolean {
  return REFUSED.test(name);
}

/** Undefined: there is none. */
export function commandCalled(word: string): IoCommand | undefined {
  return COMMANDS.find(({ name, alias }) => name === word || alias === word);
}

function runHelp(_state: IoState, { operands: [name] }: GivenWords): IoOutcome {
  if (name === undefined) {
    write(`${COMMANDS.map(usageOf).join('')}\nUse 'help commandname' for extended help.\n`);
    return 'done';
  }
  const command = commandCalled(name);
  if (command === undefined) {
    write(`command ${name} not found\n`);
    return 'done';
  }
  write(usageOf(command) + explained(command));
  return 'done';
}

function explained({ details, options = {} }: IoCommand): string {
  const lines = Object.entries(options).map(
    ([letter, one]) => ` -${letter[0]}  ${typeof one === 'string' ? one : one.what}`,
  );
  if (details === undefined && lines.length === 0) return '';
  const text = (details ?? '').split('\n').map((line) => (line === '' ? '' : ` ${line}`));
  return `\n${[...(details === undefined ? [] : [...text, '']), ...lines].join('\n')}\n\n`;
}
