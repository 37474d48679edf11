// write, writev and aio_write.

import type { ExercisedDisk } from '../../workspace/exercised-disk.js';
import { bufferOfFile, DEFAULT_PATTERN, filledBuffer } from './buffers.js';
import { diskOf, type GivenWords, type IoCommand, type IoOutcome, type IoState } from './command.js';
import { lengthsOf } from './lengths.js';
import { MAX_REQUEST_BYTES, patternByte, sizeWord, wholeSectors } from './numbers.js';
import { answerFailed, checkInside, injected, REPORTING, reportFailed, reportingOf, reportRequest } from './report.js';
import { misused } from './words.js';

const FUA = { f: 'durable when it is answered (force unit access)' };
const PATTERN = { 'P:': { what: 'fill the buffer with this byte instead of 0xcd', read: patternByte } };
const ZEROES = { u: 'with -z: the space may be given back', z: 'write zeroes, without sending them' };

export const write: IoCommand = {
  name: 'write',
  alias: 'w',
  synopsis: '[-bcCfnpquz] [-P pattern | -s source_file] off len',
  summary: 'writes bytes',
  details:
    'Writes len bytes at byte off: 0xcd, or what an option says.\n\nwrite -P 7 512 1k    writes 1 KiB of sevens, from byte 512 on',
  options: {
    b: "write the machine's state instead of the disk",
    c: 'write compressed clusters',
    ...REPORTING,
    ...FUA,
    n: 'with -z: fail rather than write zeroes out',
    p: 'nothing; for old scripts',
    ...PATTERN,
    's:': 'fill the buffer with the content of this file, again and again',
    ...ZEROES,
  },
  words: [2, Number.POSITIVE_INFINITY],
  writes: true,
  run: runWrite,
};

export const writev: IoCommand = {
  name: 'writev',
  synopsis: '[-Cfq] [-P pattern] off len [len..]',
  summary: 'writes bytes from several buffers',
  details:
    'Writes at byte off, as many bytes as all len together.\n\nwritev 512 1k 1k    writes 2 KiB, from byte 512 on',
  options: { ...REPORTING, ...FUA, ...PATTERN },
  words: [2, Number.POSITIVE_INFINITY],
  writes: true,
  run: runWritev,
};

export const aioWrite: IoCommand = {
  name: 'aio_write',
  synopsis: '[-Cfiquz] [-P pattern] off len [len..]',
  summary: 'begins to write bytes',
  details:
    'Begins to write, and does not wait: the result is printed when it comes. aio_flush waits for it. What goes wrong after the request was begun is printed, and is no ' +
    'failure of the command.\n\naio_write 512 1k 1k    writes 2 KiB, from byte 512 on',
  options: {
    ...REPORTING,
    ...FUA,
    i: { what: 'count an invalid request, and send none', alone: () => injected('write') },
    ...PATTERN,
    ...ZEROES,
  },
  words: [2, Number.POSITIVE_INFINITY],
  writes: true,
  run: runAioWrite,
};

function patternOf(given: GivenWords): number {
  return given.number('P') ?? DEFAULT_PATTERN;
}

/** What cannot be wanted together; null: nothing. */
function conflictOf(given: GivenWords): string | null {
  const has = (letter: string): boolean => given.has(letter);
  if (has('b') && has('z')) return '-b and -z cannot be specified at the same time';
  if (has('f') && (has('b') || has('c'))) return '-f and -b or -c cannot be specified at the same time';
  if (has('n') && !has('z')) return '-n requires -z to be specified';
  if (has('u') && !has('z')) return '-u requires -z to be specified';
  const sources = ['z', 'P', 's'].filter(has);
  return sources.length > 1 ? 'Only one of -z, -P, and -s can be specified at the same time' : null;
}

async function runWrite(state: IoState, given: GivenWords, command: IoCommand): Promise<IoOutcome> {
  if (given.operands.length !== 2) return misused(command);
  const conflict = conflictOf(given);
  if (conflict !== null) return answerFailed(conflict);
  const offset = sizeWord(given.operands[0]);
  if (offset === null) return 'failed';
  const bytes = sizeWord(given.operands[1]);
  if (bytes === null) return 'failed';
  if (bytes > MAX_REQUEST_BYTES && !given.has('n')) {
    return answerFailed(`length cannot exceed ${MAX_REQUEST_BYTES} without -n, given ${given.operands[1]}`);
  }
  const bySectors = given.has('b') || given.has('c');
  if (bySectors && !(wholeSectors('offset', offset) && wholeSectors('count', bytes))) return 'failed';
  const source = given.get('s');
  let buffer: Uint8Array | null = null;
  if (source !== undefined) {
    buffer = bufferOfFile(state, bytes, source);
    if (buffer === null) return 'failed';
  }
  const disk = diskOf(state);
  let begun: number;
  try {
    if (!given.has('b')) checkInside(disk, offset, bytes);
    if (!given.has('z')) buffer ??= filledBuffer(state, bytes, patternOf(given));
    begun = performance.now();
    if (given.has('b')) await disk.writeVmState(offset, buffer!);
    else await send(disk, given, offset, bytes, buffer);
  } catch (error) {
    reportFailed('write', error);
    return 'failed';
  }
  reportRequest('wrote', reportingOf(given), offset, bytes, performance.now() - begun);
  return 'done';
}

async function runWritev(state: IoState, given: GivenWords, command: IoCommand): Promise<IoOutcome> {
  if (given.operands.length < 2) return misused(command);
  const offset = sizeWord(given.operands[0]);
  const bytes = offset === null ? null : lengthsOf(given.operands.slice(1));
  if (offset === null || bytes === null) return 'failed';
  const disk = diskOf(state);
  let begun: number;
  try {
    checkInside(disk, offset, bytes);
    const buffer = filledBuffer(state, bytes, patternOf(given));
    begun = performance.now();
    await send(disk, given, offset, bytes, buffer);
  } catch (error) {
    reportFailed('writev', error);
    return 'failed';
  }
  reportRequest('wrote', reportingOf(given), offset, bytes, performance.now() - begun);
  return 'done';
}

function runAioWrite(state: IoState, given: GivenWords, command: IoCommand): IoOutcome {
  const zeroes = given.has('z');
  if (given.operands.length < 2) return misused(command);
  if (zeroes && given.operands.length !== 2) return answerFailed('-z supports only a single length parameter');
  if (given.has('u') && !zeroes) return answerFailed('-u requires -z to be specified');
  if (zeroes && given.has('P')) return answerFailed('-z and -P cannot be specified at the same time');
  const offset = sizeWord(given.operands[0]);
  if (offset === null) return 'failed';
  const bytes = zeroes ? sizeWord(given.operands[1]) : lengthsOf(given.operands.slice(1));
  if (bytes === null) return 'failed';
  diskOf(state).inBackground(writeLater(state, given, offset, bytes));
  return 'done';
}

async function writeLater(state: IoState, given: GivenWords, offset: number, bytes: number): Promise<void> {
  const disk = diskOf(state);
  let begun: number;
  try {
    checkInside(disk, offset, bytes);
    const buffer = given.has('z') ? null : filledBuffer(state, bytes, patternOf(given));
    begun = performance.now();
    await send(disk, given, offset, bytes, buffer);
  } catch (error) {
    reportFailed('aio_write', error);
    return;
  }
  reportRequest('wrote', reportingOf(given), offset, bytes, performance.now() - begun);
}

/** Null in the place of the buffer: zeroes. */
async function send(
  disk: ExercisedDisk,
  given: GivenWords,
  offset: number,
  bytes: number,
  buffer: Uint8Array | null,
): Promise<void> {
  const fua = given.has('f');
  if (buffer !== null) await disk.write(offset, buffer, { fua, compressed: given.has('c') });
  else await disk.writeZeroes(offset, bytes, { fua, mayUnmap: given.has('u'), noFallback: given.has('n') });
}
