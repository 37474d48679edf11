// What a request is answered with: the line of statistics, the dump of what was read, the words of an error.

import { BlockError, type BlockErrorCode, toBlockError } from '../../util/errors.js';
import { systemWordsOf, wordsOfErrno } from '../../util/system-words.js';
import type { ExercisedDisk } from '../../workspace/exercised-disk.js';
import { reportError, write } from '../output.js';
import { reasonOf } from '../session.js';
import type { GivenWords, IoOutcome } from './command.js';
import { MAX_REQUEST_BYTES, shownSize } from './numbers.js';

/** How a request is reported. */
export interface Reporting {
  quiet: boolean;
  /** `-C`: for programs. */
  csv: boolean;
}

/** The options for it. */
export const REPORTING = {
  C: 'report statistics in a form for programs',
  q: 'quiet: no statistics',
};

export function reportingOf(given: GivenWords): Reporting {
  return { quiet: given.has('q'), csv: given.has('C') };
}

/** `ms`: the time that the request took. */
export function reportRequest(
  what: string,
  { quiet, csv }: Reporting,
  offset: number,
  bytes: number,
  ms: number,
): void {
  if (quiet) return;
  const seconds = Math.max(ms, 0.001) / 1000;
  if (csv) {
    write(`${bytes},1,${shownTime(seconds, true)},${(bytes / seconds).toFixed(3)},${(1 / seconds).toFixed(3)}\n`);
    return;
  }
  write(
    `${what} ${bytes}/${bytes} bytes at offset ${offset}\n` +
      `${shownSize(bytes)}, 1 ops; ${shownTime(seconds, false)} ` +
      `(${shownSize(bytes / seconds)}/sec and ${(1 / seconds).toFixed(4)} ops/sec)\n`,
  );
}

/** `0:00:12.34`, or where that is less than a minute and not `always`, `12.34 sec`. */
function shownTime(total: number, always: boolean): string {
  const two = (value: number): string => String(value).padStart(2, '0');
  const hundredths = Math.floor(total * 100);
  const seconds = Math.floor(hundredths / 100);
  const short = `${two(seconds % 60)}.${two(hundredths % 100)}`;
  if (!always && seconds < 60) return `${short} sec`;
  return `${Math.floor(seconds / 3600)}:${two(Math.floor(seconds / 60) % 60)}:${short}`;
}

const LINE_BYTES = 16;
/** Lines that are written at once. */
const BATCH_LINES = 4096;

/** Writes what was read at `offset`, in lines of 16 bytes. */
export function dump(bytes: Uint8Array, offset: number): void {
  let lines: string[] = [];
  for (let at = 0; at < bytes.length; at += LINE_BYTES) {
    const line = bytes.subarray(at, at + LINE_BYTES);
    const digits = Array.from(line, (byte) => `${byte.toString(16).padStart(2, '0')} `).join('');
    const text = Array.from(line, shownByte).join('');
    lines.push(`${(offset + at).toString(16).padStart(8, '0')}:  ${digits} ${text}\n`);
    if (lines.length < BATCH_LINES) continue;
    write(lines.join(''));
    lines = [];
  }
  write(lines.join(''));
}

function shownByte(byte: number): string {
  const text = String.fromCharCode(byte);
  return /^[A-Za-z0-9]$/.test(text) ? text : '.';
}

/** The system's words for errors that have come from no system. */
const ERRNO_OF: Partial<Readonly<Record<BlockErrorCode, string>>> = {
  'not-found': 'ENOENT',
  permission: 'EPERM',
  'read-only': 'EPERM',
  'invalid-argument': 'EINVAL',
  misaligned: 'EINVAL',
  unsupported: 'ENOTSUP',
  'no-space': 'ENOSPC',
  limit: 'EFBIG',
  'bad-state': 'EBUSY',
  busy: 'EBUSY',
};

/** `read failed: Input/output error` */
export function reportFailed(what: string, error: unknown): void {
  write(`${what} failed: ${wordsOf(error)}\n`);
}

/** What an error is in the system's words. A mistake of Diskwright's own is thrown on. */
export function wordsOf(error: unknown): string {
  const failure = toBlockError(error);
  if (failure.code === 'internal') throw error;
  const { errno = ERRNO_OF[failure.code] ?? 'EIO' } = failure;
  return systemWordsOf(failure) ?? wordsOfErrno(errno) ?? failure.message;
}

/** Throws `out-of-bounds` for a request that reaches beyond the end of the image. To be called before it gets a buffer. */
export function checkInside(disk: ExercisedDisk, offset: number, bytes: number): void {
  if (offset + bytes <= disk.length) return;
  throw new BlockError('out-of-bounds', 'the request reaches beyond the end of the image');
}

/** Prints an answer that is no error of a request, as qemu-io does. */
export function answerFailed(message: string): IoOutcome {
  write(`${message}\n`);
  return 'failed';
}

/** `-i`: a request that is counted as invalid, and not sent. */
export function injected(what: 'read' | 'write'): IoOutcome {
  write(`injecting invalid ${what} request\n`);
  return 'done';
}

/** A request of more bytes than one may have; `typed`: its length. */
export function tooLong(typed: string): IoOutcome {
  return answerFailed(`length cannot exceed ${MAX_REQUEST_BYTES}, given ${typed}`);
}

/** Reports why the command fails, with the program's name. */
export function complain(message: string): IoOutcome {
  reportError(message);
  return 'failed';
}

/** Reports the error that ends the command. A mistake of Diskwright's own is thrown on. */
export function refuse(cause: unknown): IoOutcome {
  const error = toBlockError(cause);
  if (error.code === 'internal') throw cause;
  return complain(reasonOf(error));
}
