// The commands of `diskwright io`, in the order of their names.

import { write } from '../output.js';
import * as breaks from './breaks.js';
import type { GivenWords, IoCommand, IoOutcome, IoState } from './command.js';
import * as files from './files.js';
import * as program from './program.js';
import * as reading from './reading.js';
import * as space from './space.js';
import { usageOf } from './words.js';
import * as writing from './writing.js';

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
  program.abort,
  program.aioFlush,
  reading.aioRead,
  writing.aioWrite,
  space.alloc,
  breaks.breakAt,
  files.close,
  space.discard,
  space.flush,
  help,
  space.info,
  space.length,
  space.map,
  files.open,
  program.quit,
  reading.read,
  reading.readv,
  breaks.removeBreak,
  files.reopen,
  breaks.resume,
  program.sigraise,
  program.sleep,
  space.truncate,
  breaks.waitBreak,
  writing.write,
  writing.writev,
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
