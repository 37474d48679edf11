// The words that were typed, byte by byte: node's own list of them has lost what is no UTF-8.

import { readFileSync } from 'node:fs';
import { decodeName, encodeName, hasRawBytes } from '../util/name-bytes.js';

/** Hands words to a process that is started with `commandLineFor`: bytes in hexadecimal digits, each word behind the one before and a zero. */
const VARIABLE = 'DISKWRIGHT_COMMAND_LINE';

let typed: readonly string[] | null = null;

/** The words behind the program's name. A byte that is no UTF-8 is in them as `decodeName` has it. */
export function commandLine(): readonly string[] {
  typed ??= readWords();
  return typed;
}

function readWords(): readonly string[] {
  const words = process.argv.slice(2);
  const handed = process.env[VARIABLE];
  delete process.env[VARIABLE];
  if (handed !== undefined) return split(Buffer.from(handed, 'hex'));
  if (!words.some((word) => word.includes('\ufffd'))) return words;
  // What stands before them there are node's own options and the script.
  const all = split(readFileSync('/proc/self/cmdline'));
  return all.slice(all.length - words.length);
}

/** The environment in which the command is started anew with the same words. */
export function commandLineFor(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const words = commandLine();
  if (!words.some(hasRawBytes)) return env;
  const bytes = Buffer.concat(words.flatMap((word) => [encodeName(word), Buffer.of(0)]));
  return { ...env, [VARIABLE]: bytes.toString('hex') };
}

/** Words that each end with a zero. */
function split(bytes: Buffer): string[] {
  const words: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = bytes.indexOf(0, at);
    words.push(decodeName(bytes.subarray(at, end < 0 ? undefined : end)));
    at = end < 0 ? bytes.length : end + 1;
  }
  return words;
}
