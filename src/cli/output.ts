// The words on the terminal: standard output in bulk, errors behind the program's name.

import { subscribe } from 'node:diagnostics_channel';
import { reportUnexpected, UNEXPECTED_CHANNEL, type Unexpected } from '../util/diagnostics.js';
import { BlockError } from '../util/errors.js';
import { printable, printableLines } from '../util/foreign-text.js';
import { encodeName, hasRawBytes } from '../util/name-bytes.js';
import { wordsOfErrno } from '../util/system-words.js';
import { UsageError } from './getopt.js';

export const PROGRAM = 'diskwright';

/** What messages begin with: the name that the program was called by. */
let programName: string = PROGRAM;

let lastError: string | null = null;
let readerGone = false;
/** Standard output and standard error where they go to an image: nothing is written there. */
const silent = new Set<1 | 2>();
/** Ends, or takes away, a line of progress that stands there unfinished. */
let endOpenLine: (() => void) | null = null;
let watched = { out: false, errors: false };

export function program(): string {
  return programName;
}

/** Called by another name, as by a symbolic link `qemu-nbd`. */
export function setProgram(name: string): void {
  programName = name;
}

/** From now on nothing is written to standard output (1) or standard error (2): it goes to a file that holds somebody's data. */
export function silence(stream: 1 | 2): void {
  silent.add(stream);
}

/** Streams are loaded at their first use, which takes some milliseconds: a command that prints nothing spends none. */
export function write(text: string): void {
  if (silent.has(1)) return;
  if (!watched.out) {
    watched = { ...watched, out: true };
    process.stdout.on('error', (error: NodeJS.ErrnoException) => {
      // A reader that went away (`diskwright map ... | head`) is no failure: what a command does to images it ends all the same.
      if (error.code === 'EPIPE') {
        readerGone = true;
        return;
      }
      reportError(`error while writing to standard output: ${wordsOfErrno(error.code ?? '') ?? error.message}`);
      process.exit(1);
    });
  }
  if (readerGone) return;
  if (process.stdout.isTTY) process.stdout.write(printableLines(text));
  else process.stdout.write(hasRawBytes(text) ? encodeName(text) : text);
}

/** A name that somebody else chose, for standard output: scripts get it as it is, a terminal in one line and without control characters. */
export function shown(name: string): string {
  return process.stdout.isTTY ? printable(name) : name;
}

/** What was reported last, for programs; null: nothing was. */
export function lastReported(): string | null {
  return lastError;
}

/** Nobody reads what is written any more. */
export function isUnread(): boolean {
  return readerGone;
}

/** From now on a line stands there unfinished; `end` is called before the next complaint. Null: it is finished. */
export function openLine(end: (() => void) | null): void {
  endOpenLine = end;
}

/** Whether the line still stands there: no complaint has come since. */
export function lineIsOpen(): boolean {
  return endOpenLine !== null;
}

/** To standard error, which people read, on a line of its own: control characters are shown. `text` may have several lines of our own. */
export function complain(text: string): void {
  const end = endOpenLine;
  endOpenLine = null;
  end?.();
  writeErrors(`${printableLines(text)}\n`);
}

/** To standard error, as it is. */
export function writeErrors(text: string | Uint8Array): void {
  if (silent.has(2)) return;
  if (!watched.errors) {
    watched = { ...watched, errors: true };
    // Nobody is left to be told.
    process.stderr.on('error', () => undefined);
  }
  process.stderr.write(text);
}

/** `diskwright: message`, as scripts look for it. */
export function reportError(message: string): void {
  lastError = message;
  complain(`${programName}: ${message}`);
}

/** Reports whatever was thrown. `command` is what explains itself with --help. */
export function reportFailure(error: unknown, command = programName): void {
  if (error instanceof UsageError) {
    for (const line of error.lines) reportError(printable(line));
    for (const line of error.after) complain(printable(line));
    if (error.hint) complain(`Try '${command} --help' for more information`);
  } else if (error instanceof BlockError && error.code !== 'internal') {
    reportError(messageOf(error));
  } else {
    // Said by `sayUnexpected`, unless it was said when it came up.
    reportUnexpected(command, error);
  }
}

/** Why the system refused a request, in the real tools' words: `No space left on device`. Undefined where it was not the system. */
export function systemWordsOf({ fromSystem, errno }: BlockError): string | undefined {
  return fromSystem && errno !== undefined ? wordsOfErrno(errno) : undefined;
}

/** The message, in which a name cannot begin a line of its own. */
export function messageOf(error: BlockError): string {
  const words = systemWordsOf(error);
  return withPrintableNames(words === undefined ? error.message : `${error.path}: ${words}`, error);
}

/** `text` of an error, in which the names of the files that the error is about are fit for a terminal. */
export function withPrintableNames(text: string, error: BlockError): string {
  let link: unknown = error;
  for (let depth = 0; depth < 10 && link instanceof BlockError; depth++) {
    if (link.path !== undefined && link.path !== '') text = text.replaceAll(link.path, printable(link.path));
    link = link.cause;
  }
  return text;
}

/** Prints one line for each mistake of ours from here on: whoever reports it needs to know where it was. */
export function sayUnexpected(): void {
  subscribe(UNEXPECTED_CHANNEL, (message) => {
    const { where, error } = message as Unexpected;
    const text = error instanceof Error ? error.message : String(error);
    reportError(`internal error: ${where}: ${text}${placeOf(error)}`);
  });
}

/** ` (function at file:line)`: the innermost cause's first step. */
function placeOf(error: unknown): string {
  let root = error;
  for (let depth = 0; depth < 10 && root instanceof Error && root.cause instanceof Error; depth++) root = root.cause;
  const place = root instanceof Error ? /^ {4}at (.*)$/m.exec(root.stack ?? '') : null;
  return place === null ? '' : ` (at ${place[1]})`;
}

/** Two decimals as C prints them: a tie goes to the even digit. */
export function twoDecimals(value: number): string {
  const eighths = value * 8;
  if (!Number.isInteger(eighths) || eighths % 2 === 0) return value.toFixed(2);
  const below = Math.floor(value * 100);
  return ((below + (below % 2)) / 100).toFixed(2);
}
