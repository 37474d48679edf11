// The arguments of the command line, byte by byte: `process.argv` has lost the bytes that are not UTF-8, which names of files may contain.

import { readFileSync } from 'node:fs';
import { decodeName, encodeName, hasRawBytes } from '../util/name-bytes.js';

/** Passes the arguments to a process that is started with `commandLineFor`: bytes in hexadecimal digits, each argument ended by a zero byte. */
const VARIABLE = 'DISKWRIGHT_COMMAND_LINE';

let typed: readonly string[] | null = null;

/** The arguments after the program's name. A byte that is not UTF-8 is encoded as `decodeName` does. */
export function commandLine(): readonly string[] {
  typed ??= readArguments();
  return typed;
}

function readArguments(): readonly string[] {
  const args = process.argv.slice(2);
  const passed = process.env[VARIABLE];
  delete process.env[VARIABLE];
  if (passed !== undefined) return split(Buffer.from(passed, 'hex'));
  if (!args.some((arg) => arg.includes('\ufffd'))) return args;
  // In that file, node's own options and the script come before the arguments.
  const all = split(readFileSync('/proc/self/cmdline'));
  return all.slice(all.length - args.length);
}

/** The environment for starting the command again, with the same arguments. */
export function commandLineFor(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const args = commandLine();
  if (!args.some(hasRawBytes)) return env;
  const bytes = Buffer.concat(args.flatMap((arg) => [encodeName(arg), Buffer.of(0)]));
  return { ...env, [VARIABLE]: bytes.toString('hex') };
}

/** Splits arguments that each end with a zero byte. */
function split(bytes: Buffer): string[] {
  const args: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = bytes.indexOf(0, at);
    args.push(decodeName(bytes.subarray(at, end < 0 ? undefined : end)));
    at = end < 0 ? bytes.length : end + 1;
  }
  return args;
}
