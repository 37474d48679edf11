// read, readv and aio_read.

import type { ExercisedDisk } from '../../workspace/exercised-disk.js';
import { write } from '../output.js';
import { filledBuffer, UNREAD_PATTERN } from './buffers.js';
import { diskOf, type GivenWords, type IoCommand, type IoOutcome, type IoState } from './command.js';
import { lengthsOf } from './lengths.js';
import { MAX_REQUEST_BYTES, patternByte, sizeWord, wholeSectors } from './numbers.js';
import { beyondEnd, dump, type Reporting, reportFailed, reportRequest } from './report.js';
import { usageOf } from './words.js';

const REPORTING = {
  C: 'report statistics in a form for programs',
  q: 'quiet: no statistics',
};
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
  options: { ...REPORTING, ...CHECKING, i: { what: 'count an invalid request, and send none', alone: injected } },
  words: [2, Number.POSITIVE_INFINITY],
  run: runAioRead,
};

/** What is done with what was read. */
interface Wanted extends Reporting {
  pattern: number | null;
  dumps: boolean;
}

function wantedOf(given: GivenWords): Wanted {
  return { quiet: given.has('q'), csv: given.has('C'), pattern: given.number('P') ?? null, dumps: given.has('v') };
}

function injected(): IoOutcome {
  write('injecting invalid read request\n');
  return 'done';
}

async function runRead(state: IoState, given: GivenWords, command: IoCommand): Promise<IoOutcome> {
  const [pattern = null, start = 0] = [given.number('P'), given.number('s')];
  if (given.operands.length !== 2) return misused(command);
  const offset = sizeWord(given.operands[0]);
  if (offset === null) return 'failed';
  const bytes = sizeWord(given.operands[1]);
  if (bytes === null) return 'failed';
  if (bytes > MAX_REQUEST_BYTES) {
    write(`length cannot exceed ${MAX_REQUEST_BYTES}, given ${given.operands[1]}\n`);
    return 'failed';
  }
  if (pattern === null && (given.has('l') || given.has('s'))) return misused(command);
  const compared = { from: start, bytes: given.number('l') ?? bytes - start };
  if (compared.bytes < 0 || compared.from + compared.bytes > bytes) {
    write('pattern verification range exceeds end of read data\n');
    return 'failed';
  }
  const ofState = given.has('b');
  if (ofState && !(wholeSectors('offset', offset) && wholeSectors('count', bytes))) return 'failed';
  const buffer = filledBuffer(state, bytes, UNREAD_PATTERN);
  const begun = performance.now();
  const disk = diskOf(state);
  try {
    if (ofState) await disk.readVmState(offset, buffer);
    else await readInside(disk, offset, buffer);
  } catch (error) {
    reportFailed('read', error);
    return 'failed';
  }
  const ms = performance.now() - begun;
  const isRight = pattern === null || compare(buffer, pattern, offset, compared.from, compared.bytes);
  const how = { quiet: given.has('q'), csv: given.has('C') };
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
  const buffer = filledBuffer(state, bytes, UNREAD_PATTERN);
  const begun = performance.now();
  try {
    await readInside(diskOf(state), offset, buffer);
  } catch (error) {
    reportFailed('readv', error);
    return 'failed';
  }
  return show(wanted, offset, buffer, performance.now() - begun) ? 'done' : 'failed';
}

function runAioRead(state: IoState, given: GivenWords, command: IoCommand): IoOutcome {
  const wanted = wantedOf(given);
  if (given.operands.length < 2) return misused(command);
  const offset = sizeWord(given.operands[0]);
  const bytes = offset === null ? null : lengthsOf(given.operands.slice(1));
  if (offset === null || bytes === null) return 'failed';
  const disk = diskOf(state);
  disk.inBackground(readLater(disk, wanted, offset, filledBuffer(state, bytes, UNREAD_PATTERN)));
  return 'done';
}

async function readLater(disk: ExercisedDisk, wanted: Wanted, offset: number, buffer: Uint8Array): Promise<void> {
  const begun = performance.now();
  try {
    await readInside(disk, offset, buffer);
  } catch (error) {
    reportFailed('readv', error);
    return;
  }
  show(wanted, offset, buffer, performance.now() - begun);
}

/** Returns whether it is as `-P` says. */
function show(wanted: Wanted, offset: number, buffer: Uint8Array, ms: number): boolean {
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

async function readInside(disk: ExercisedDisk, offset: number, buffer: Uint8Array): Promise<void> {
  if (offset + buffer.length > disk.length) throw beyondEnd();
  await disk.read(offset, buffer);
}

function misused(command: IoCommand): IoOutcome {
  write(usageOf(command));
  return 'failed';
}
