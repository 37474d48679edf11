// What a command writes: its output to standard output; messages, each after the program's name, to standard error. Either may be a terminal,
// which must not get control characters from a stranger's file name, and on which a message must not be mixed with a line of progress.

import { fstatSync, writeSync } from 'node:fs';
import { lockHolders } from '../host/real/lock-holders.js';
import { onUnexpected, reportUnexpected } from '../util/diagnostics.js';
import { BlockError, errorsOf } from '../util/errors.js';
import { printable, printableLines } from '../util/foreign-text.js';
import { encodeName, hasRawBytes } from '../util/name-bytes.js';
import { messageInWords, wordsOfErrno } from '../util/system-words.js';
import { UsageError } from './getopt.js';

export const PROGRAM = 'diskwright';
/** The name by which the program takes qemu-img's command line. */
export const QEMU_IMG = 'qemu-img';
/** Begins the first argument of a call in place of another program (`as-program.ts`). scripts/launcher.cjs knows it, too. */
export const AS = '--as=';
/** The names that `diskwright shims` makes scripts by, and that the help tells of. */
export const SHIMS = ['qemu-img', 'qemu-io', 'qemu-nbd'] as const;

/** What may be taken for the name of standard input and output. */
export const STANDARD = '-';
/** Why it is not: it is a file's name for the verbs of QEMU's programs, and refused by our own. */
export const ONLY_CONVERT =
  "Only 'diskwright convert' reads standard input and writes standard output by the name '-'.";

/** Names of the standard streams that open as what they are redirected to. */
const STREAM_NAME = /^\/dev\/(?:std(?:in|out|err)|fd\/[012])$|^\/proc\/(?:self|thread-self)\/fd\/[012]$/;

/** The name that the program was called by. Messages begin with it. */
let programName: string = PROGRAM;

/** Of processes that hold an image's lock, so many are named. */
const MOST_HOLDERS = 3;

/** Linux's major number of /dev/null and its like. */
const MEMORY_DEVICES = 1;

/** Standard output or standard error. */
interface Channel {
  readonly fd: 1 | 2;
  /** Undefined until somebody asks. */
  terminal?: boolean;
  /** It goes through node's stream, since it is a pipe that takes nothing more for now and does not wait. */
  streamed: boolean;
  /** Errors of node's stream are listened to. */
  watched: boolean;
  /** Its reader has gone, or nothing more can be written there. */
  gone: boolean;
}

const OUTPUT: Channel = { fd: 1, streamed: false, watched: false, gone: false };
const ERRORS: Channel = { fd: 2, streamed: false, watched: false, gone: false };

let lastError: string | null = null;
/** Standard output (1) and standard error (2), where they are redirected to an image: nothing is written there. */
const silent = new Set<1 | 2>();
/** Ends, or clears, the unfinished line of progress on the terminal; null where there is none. */
let endOpenLine: (() => void) | null = null;
let streamsUsed = false;
/** Standard output takes the bytes of an image. */
let outputIsGiven = false;

export function program(): string {
  return programName;
}

/** Sets the name that messages begin with, where the program was called by another name (a symbolic link `qemu-nbd`). */
export function setProgram(name: string): void {
  programName = name;
}

/** Node's stream of standard output (1) or standard error (2). Node makes it when it is asked for. */
export function standardStream(fd: 1 | 2): NodeJS.WriteStream {
  streamsUsed = true;
  return fd === 1 ? process.stdout : process.stderr;
}

/** Whether one of node's streams has been asked for. */
export function usesStreams(): boolean {
  return streamsUsed;
}

/** Writes nothing to standard output (1) or standard error (2) from now on: it is redirected to a file that is an image. */
export function silence(stream: 1 | 2): void {
  silent.add(stream);
}

/** From now on, standard output is for the bytes of an image: what else is to be printed there goes to standard error. */
export function giveOutputAway(): void {
  outputIsGiven = true;
}

/** Where text for the user goes. */
export function textStream(): 1 | 2 {
  return outputIsGiven ? 2 : 1;
}

/** Writes to standard output. On a terminal, control characters are printed as escapes. */
export function write(text: string): void {
  put(text, printableLines);
}

/** Writes to standard output what nobody else has a part in: control characters in it are meant. */
export function writeOwn(text: string): void {
  put(text, (own) => own);
}

function put(text: string, safe: (text: string) => string): void {
  if (outputIsGiven) {
    writeErrors(safe(text));
    return;
  }
  if (isTerminal(1)) send(OUTPUT, safe(text));
  else send(OUTPUT, Buffer.from(hasRawBytes(text) ? encodeName(text) : text));
}

/** Whether standard output (1) or standard error (2) is a terminal. Loading node's stream takes 4 ms: what is no terminal does without it. */
export function isTerminal(fd: 1 | 2): boolean {
  const channel = fd === 1 ? OUTPUT : ERRORS;
  if (channel.terminal === undefined) {
    const stats = fstatSync(fd);
    const mayBe = stats.isCharacterDevice() && stats.rdev >> 8 !== MEMORY_DEVICES;
    channel.terminal = mayBe && standardStream(fd).isTTY === true;
  }
  return channel.terminal;
}

/** What was written has been taken when this returns, so that it is not lost where a signal ends the process next; unless the pipe was made not to wait. */
function send(channel: Channel, data: string | Uint8Array): void {
  if (silent.has(channel.fd) || channel.gone) return;
  if (isTerminal(channel.fd)) {
    sendStreamed(channel, data);
    return;
  }
  const bytes = typeof data === 'string' ? Buffer.from(data) : data;
  let at = 0;
  while (at < bytes.length && !channel.gone && !channel.streamed) {
    try {
      at += writeSync(channel.fd, bytes, at);
    } catch (error) {
      const failure = error as NodeJS.ErrnoException;
      if (failure.code === 'EAGAIN') channel.streamed = true;
      else if (failure.code !== 'EINTR') sendFailed(channel, failure);
    }
  }
  if (channel.streamed && at < bytes.length) sendStreamed(channel, bytes.subarray(at));
}

function sendStreamed(channel: Channel, data: string | Uint8Array): void {
  const stream = standardStream(channel.fd);
  if (!channel.watched) {
    channel.watched = true;
    stream.on('error', (error) => sendFailed(channel, error));
  }
  stream.write(data);
}

function sendFailed(channel: Channel, error: NodeJS.ErrnoException): void {
  // A reader that went away (`diskwright map ... | head`) is not a failure: the command still finishes its work on images. One of standard error cannot be
  // reported anywhere.
  if (error.code === 'EPIPE' || channel === ERRORS) {
    channel.gone = true;
    return;
  }
  reportError(`error while writing to standard output: ${wordsOfErrno(error.code ?? '') ?? error.message}`);
  process.exit(1);
}

/** A name from an image or a file system, for standard output: on a terminal, control characters are printed as escapes; scripts get it as it is. */
export function shown(name: string): string {
  return isTerminal(1) ? printable(name) : name;
}

/** The last error that was reported; null: none was. */
export function lastReported(): string | null {
  return lastError;
}

/** True once the reader of standard output has gone. */
export function isReaderGone(): boolean {
  return OUTPUT.gone;
}

/** Notes that the terminal has an unfinished line of progress: `end` is called before the next message. Null: the line was ended. */
export function openLine(end: (() => void) | null): void {
  endOpenLine = end;
}

/** True where the terminal still has the unfinished line: no message has been written since. */
export function lineIsOpen(): boolean {
  return endOpenLine !== null;
}

/** Writes a message to standard error, on lines of its own, in a colour where it takes one. Control characters, except line feeds and tabs, are printed as escapes. */
export function writeMessage(text: string, colour?: string): void {
  const end = endOpenLine;
  endOpenLine = null;
  end?.();
  const lines = printableLines(text);
  writeErrors(colour !== undefined && hasColour() ? `${colour}${lines}${PLAIN}\n` : `${lines}\n`);
}

/** Writes to standard error, as it is. */
export function writeErrors(text: string | Uint8Array): void {
  send(ERRORS, text);
}

/** Writes `diskwright: message` to standard error. */
export function reportError(message: string): void {
  lastError = message;
  writeMessage(`${programName}: ${message}`, RED);
}

export const RED = '\x1b[31m';
export const GREEN = '\x1b[32m';
/** Ends a colour. */
export const PLAIN = '\x1b[0m';

/**
 * Whether standard error takes colours: a terminal does, unless NO_COLOR is set or it is a dumb one. FORCE_COLOR decides it for anything else, too (0: none).
 * By another program's name there are none.
 */
export function hasColour(): boolean {
  if (programName !== PROGRAM) return false;
  const { FORCE_COLOR: forced, NO_COLOR: none, TERM: terminal } = process.env;
  if (forced) return forced !== '0' && forced !== 'false';
  return !none && terminal !== 'dumb' && isTerminal(2);
}

/** Writes a warning to standard error, after the program's name; one that begins with `WARNING:` stands as it is, as with QEMU's programs. */
export function reportWarning(message: string): void {
  writeMessage(message.startsWith('WARNING:') ? message : `${programName}: ${message}`);
}

/** Reports whatever was thrown, and then `hints`, lines for a person. `command` is what a hint at `--help` names. */
export function reportFailure(error: unknown, command = programName, hints: readonly string[] = []): void {
  if (error instanceof UsageError) {
    for (const line of error.lines) reportError(printable(line));
    for (const line of error.after) writeMessage(printable(line));
    writeHints(hints.filter((line) => !error.after.includes(line)));
    if (error.hint) writeMessage(`Try '${command} --help' for more information`);
  } else if (error instanceof BlockError && error.code !== 'internal') {
    reportError(messageOf(error));
    writeHints(hints);
  } else {
    // `printUnexpected` prints it, unless it was printed where it occurred.
    reportUnexpected(command, error);
  }
}

/** Writes lines for a person, but those that the last message has already. */
export function writeHints(lines: readonly string[]): void {
  for (const line of lines) if (!lastError?.includes(line)) writeMessage(printable(line));
}

/** The message of an error, with names of files printable (see `withPrintableNames`). */
export function messageOf(error: BlockError): string {
  return withPrintableNames(messageInWords(error), error);
}

/**
 * `text` of an error, with escapes for unsafe characters in the names of the files that the error and its causes are about. Where it is that another process
 * has locked an image, a line is added that says which; and what the error says for a person, unless the program was called by another's name.
 */
export function withPrintableNames(text: string, error: BlockError): string {
  const further: string[] = [];
  // The file of the innermost error that has the name of a node: there it comes from, and the others have its words.
  let file: string | undefined;
  for (const link of errorsOf(error)) {
    if (link.path !== undefined && link.path !== '') text = text.replaceAll(link.path, printable(link.path));
    if (link.code === 'locked' && link.operation === 'lock') further.push(holdersLine(link));
    if (programName === PROGRAM) {
      if (link.path && NODE_NAME.test(link.message)) file = printable(link.path);
      if (link.hint !== undefined) further.push(`\n${printable(link.hint)}`);
      if (link.code === 'not-found' && link.path === STANDARD) further.push(`\n${ONLY_CONVERT}`);
      const line = streamLine(link);
      if (line !== undefined) further.push(`\n${line}`);
    }
  }
  if (file !== undefined) text = withoutNodeName(text, file);
  // The reason of a cause has the line already where it was made printable before.
  for (const line of further) if (!text.includes(line)) text += line;
  return text;
}

/** What to do where a file was named that can only be read or written in order. */
function streamLine({ path = '', errno, code }: BlockError): string | undefined {
  if (STREAM_NAME.test(path) && (errno === 'ESPIPE' || code === 'locked')) {
    return "Standard input and output are called '-': 'diskwright convert - TARGET', 'diskwright convert SOURCE -'.";
  }
  if (errno !== 'ESPIPE') return undefined;
  return "It is a pipe: 'diskwright convert - TARGET < PIPE' reads from one, 'diskwright convert SOURCE - > PIPE' writes to one.";
}

/** The name of a node that was given none. */
const NODE_NAME = /#block\d+/;

/** A name that a node was given by itself says nothing to who typed the name of a file: where it is the only one, `file` stands in its place. */
function withoutNodeName(text: string, file: string): string {
  const found = new Set(text.match(new RegExp(NODE_NAME, 'g')));
  const [name] = found;
  return found.size === 1 ? text.replaceAll(name, () => file) : text;
}

/** The processes that hold the lock of a conflict, as a further line of its message; empty where the system does not tell. */
function holdersLine({ path, offset }: BlockError): string {
  if (path === undefined || offset === undefined) return '';
  const found = lockHolders(path, offset, MOST_HOLDERS).map(({ pid, name }) => `process ${pid} (${printable(name)})`);
  return found.length === 0 ? '' : `\nIt is held by ${found.join(', ')}.`;
}

/** From now on, prints one line for each unexpected error (see `util/diagnostics.ts`), with the place where it was thrown. */
export function printUnexpected(): void {
  onUnexpected(({ where, error }) => {
    const text = error instanceof Error ? error.message : String(error);
    reportError(`internal error: ${where}: ${text}${placeOf(error)}`);
  });
}

/** ` (at function (file:line))`: where the innermost cause was thrown. */
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
