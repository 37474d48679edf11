// read, readv and aio_read.

import { write } from '../output.js';
import { filledBuffer, UNREAD_PATTERN } from './buffers.js';
import { diskOf, type GivenWords, type IoCommand, type IoOutcome, type IoState } from './command.js';
import { lengthsOf } from './lengths.js';
import { MAX_REQUEST_BYTES, patternByte, sizeWord, wholeSectors } from './numbers.js';
import {
  answerFailed,
  checkInside,
  dump,
  injected,
  REPORTING,
  type Reporting,
  reportFailed,
  reportingOf,
  reportRequest,
  tooLong,
} from './report.js';
import { misused } from './words.js';

const CHECKING = {
  'P:': { what: 'compare what is read with this byte', read: patternByte },
  v: 'dump what is read',
};

export const read: IoCommand = {
  name: 'read',
  alias: 'r',
  synopsis: '[-bCpqv] [-P pattern [-s off] [-l len]] off len',
  summary: 'reads bytes',
  details: 'Reads len bytes at byte off, and with -v prints them.\n\nread -v 512 1k    dumps 1 KiB, from byte 512 on',
  options: {
    b: "read the machine's state instead of the disk",
    ...REPORTING,
    'l:': { what: 'with -P: compare so many bytes', read: sizeWord },
    p: 'nothing; for old scripts',
    ...CHECKING,
    's:': { what: 'with -P: compare from this byte of the data on', read: sizeWord },
  },
  words: [2, Number.POSITIVE_INFINITY],
  run: runRead,
};

export const readv: IoCommand = {
  name: 'readv',
  synopsis: '[-Cqv] [-P pattern] off len [len..]',
  summary: 'reads bytes into several buffers',
  details:
    'Reads at byte off, as many bytes as all len together.\n\nreadv -v 512 1k 1k    dumps 2 KiB, from byte 512 on',
  options: { ...REPORTING, ...CHECKING },
  words: [2, Number.POSITIVE_INFINITY],
  run: runReadv,
};

export const aioRead: IoCommand = {
  name: 'aio_read',
  synopsis: '[-Ciqv] [-P pattern] off len [len..]',
  summary: 'begins to read bytes',
  details:
    'Begins to read, and does not wait: the result is printed when it comes. aio_flush waits for it. What goes wrong after the request was begun is printed, and is no ' +
    'failure of the command.\n\naio_read -v 512 1k 1k    dumps 2 KiB, from byte 512 on',
  options: {
    ...REPORTING,
    ...CHECKING,
    i: { what: 'count an invalid request, and send none', alone: () => injected('read') },
  },
  words: [2, Number.POSITIVE_INFINITY],
  run: runAioRead,
};

/** What is done with what was read. */
interface Wanted extends Reporting {
  pattern: number | null;
  dumps: boolean;
}

function wantedOf(given: GivenWords): Wanted {
  return { ...reportingOf(given), pattern: given.number('P') ?? null, dumps: given.has('v') };
}

async function runRead(state: IoState, given: GivenWords, command: IoCommand): Promise<IoOutcome> {
  const [pattern = null, start = 0] = [given.number('P'), given.number('s')];
  if (given.operands.length !== 2) return misused(command);
  const offset = sizeWord(given.operands[0]);
  if (offset === null) return 'failed';
  const bytes = sizeWord(given.operands[1]);
  if (bytes === null) return 'failed';
  if (bytes > MAX_REQUEST_BYTES) return tooLong(given.operands[1]);
  if (pattern === null && (given.has('l') || given.has('s'))) return misused(command);
  const compared = { from: start, bytes: given.number('l') ?? bytes - start };
  if (compared.bytes < 0 || compared.from + compared.bytes > bytes) {
    return answerFailed('pattern verification range exceeds end of read data');
  }
  const ofState = given.has('b');
  if (ofState && !(wholeSectors('offset', offset) && wholeSectors('count', bytes))) return 'failed';
  const disk = diskOf(state);
  let begun: number;
  let buffer: Uint8Array;
  try {
    if (!ofState) checkInside(disk, offset, bytes);
    buffer = filledBuffer(state, bytes, UNREAD_PATTERN);
    begun = performance.now();
    await (ofState ? disk.readVmState(offset, buffer) : disk.read(offset, buffer));
  } catch (error) {
    reportFailed('read', error);
    return 'failed';
  }
  const ms = performance.now() - begun;
  const isRight = pattern === null || compare(buffer, pattern, offset, compared.from, compared.bytes);
  const how = reportingOf(given);
  if (!how.quiet && given.has('v')) dump(buffer, offset);
  reportRequest('read', how, offset, bytes, ms);
  return isRight ? 'done' : 'failed';
}

async function runReadv(state: IoState, given: GivenWords, command: IoCommand): Promise<IoOutcome> {
  const wanted = wantedOf(given);
  if (given.operands.length < 2) return misused(command);
  const offset = sizeWord(given.operands[0]);
  const bytes = offset === null ? null : lengthsOf(given.operands.slice(1));
  if (offset === null || bytes === null) return 'failed';
  return (await readAndShow(state, wanted, offset, bytes)) ? 'done' : 'failed';
}

function runAioRead(state: IoState, given: GivenWords, command: IoCommand): IoOutcome {
  const wanted = wantedOf(given);
  if (given.operands.length < 2) return misused(command);
  const offset = sizeWord(given.operands[0]);
  const bytes = offset === null ? null : lengthsOf(given.operands.slice(1));
  if (offset === null || bytes === null) return 'failed';
  diskOf(state).inBackground(readAndShow(state, wanted, offset, bytes));
  return 'done';
}

/** Resolves with whether it is as `-P` says; a failure is reported. */
async function readAndShow(state: IoState, wanted: Wanted, offset: number, bytes: number): Promise<boolean> {
  const disk = diskOf(state);
  let begun: number;
  let buffer: Uint8Array;
  try {
    checkInside(disk, offset, bytes);
    buffer = filledBuffer(state, bytes, UNREAD_PATTERN);
    begun = performance.now();
    await disk.read(offset, buffer);
  } catch (error) {
    reportFailed('readv', error);
    return false;
  }
  const ms = performance.now() - begun;
  const { pattern, quiet, dumps } = wanted;
  const isRight = pattern === null || compare(buffer, pattern, offset, 0, buffer.length);
  if (!quiet && dumps) dump(buffer, offset);
  reportRequest('read', wanted, offset, buffer.length, ms);
  return isRight;
}

function compare(buffer: Uint8Array, pattern: number, offset: number, from: number, bytes: number): boolean {
  if (buffer.subarray(from, from + bytes).every((byte) => byte === pattern)) return true;
  write(`Pattern verification failed at offset ${offset + from}, ${bytes} bytes\n`);
  return false;
}
