// Commands about the size and the space of the image: flush, truncate, length, info, discard, alloc, map.

import type { PreallocMode } from '../../schema/generated/types.js';
import { MAX_BYTES } from '../../util/size.js';
import { write } from '../output.js';
import { detailLines } from '../specific-details.js';
import { diskOf, type GivenWords, type IoCommand, type IoOutcome, type IoState } from './command.js';
import { MAX_REQUEST_BYTES, shownSize, sizeWord } from './numbers.js';
import {
  answerFailed,
  checkInside,
  complain,
  REPORTING,
  refuse,
  reportFailed,
  reportingOf,
  reportRequest,
  tooLong,
  wordsOf,
} from './report.js';
import { misused } from './words.js';

export const flush: IoCommand = {
  name: 'flush',
  alias: 'f',
  synopsis: '',
  summary: 'makes all that was written durable',
  words: [0, 0],
  run: runFlush,
};

async function runFlush(state: IoState): Promise<IoOutcome> {
  try {
    await diskOf(state).flush();
    return 'done';
  } catch (error) {
    return refuse(error);
  }
}

export const truncate: IoCommand = {
  name: 'truncate',
  alias: 't',
  synopsis: '[-m prealloc_mode] off',
  summary: 'changes the size of the image',
  options: { 'm:': 'what is new is allocated: off, metadata, falloc or full' },
  words: [1, 3],
  writes: true,
  run: runTruncate,
};

const MODES: readonly PreallocMode[] = ['off', 'metadata', 'falloc', 'full'];

async function runTruncate(state: IoState, given: GivenWords, command: IoCommand): Promise<IoOutcome> {
  const mode = given.get('m') ?? 'off';
  const preallocation = MODES.find((one) => one === mode);
  if (preallocation === undefined) return complain(`Invalid preallocation mode '${mode}'`);
  if (given.operands.length === 0) return misused(command);
  const size = sizeWord(given.operands[0]);
  if (size === null) return 'failed';
  if (size > MAX_BYTES) return complain(`Image sizes beyond ${MAX_BYTES} bytes (2^53 - 1) are not supported`);
  try {
    await diskOf(state).truncate(size, { preallocation });
    return 'done';
  } catch (error) {
    return refuse(error);
  }
}

export const length: IoCommand = {
  name: 'length',
  alias: 'l',
  synopsis: '',
  summary: 'shows the size of the image',
  words: [0, 0],
  run: (state) => {
    write(`${shownSize(diskOf(state).length)}\n`);
    return 'done';
  },
};

export const info: IoCommand = {
  name: 'info',
  alias: 'i',
  synopsis: '',
  summary: 'shows what the image is',
  words: [0, 0],
  run: runInfo,
};

function runInfo(state: IoState): IoOutcome {
  const { image } = diskOf(state);
  const { details, snapshots } = image.abilities;
  const name = `format name: ${image.driver}\n`;
  write(image.kind === 'protocol' ? name + name : name);
  const { clusterSize = 0, specific } = details?.() ?? {};
  write(`cluster size: ${shownSize(clusterSize)}\nvm state offset: ${shownSize(snapshots?.vmStateOffset() ?? 0)}\n`);
  if (specific !== undefined) write(`Format specific information:\n${detailLines(specific).join('\n')}\n`);
  return 'done';
}

export const discard: IoCommand = {
  name: 'discard',
  alias: 'd',
  synopsis: '[-Cq] off len',
  summary: 'says that bytes are not needed',
  details:
    'Tells the image that it may forget len bytes from byte off on.\n\ndiscard 512 1k    discards 1 KiB, from byte 512 on',
  options: REPORTING,
  words: [2, Number.POSITIVE_INFINITY],
  writes: true,
  run: runDiscard,
};

async function runDiscard(state: IoState, given: GivenWords, command: IoCommand): Promise<IoOutcome> {
  if (given.operands.length !== 2) return misused(command);
  const offset = sizeWord(given.operands[0]);
  if (offset === null) return 'failed';
  const bytes = sizeWord(given.operands[1]);
  if (bytes === null) return 'failed';
  if (bytes > MAX_REQUEST_BYTES) return tooLong(given.operands[1]);
  const begun = performance.now();
  try {
    const disk = diskOf(state);
    checkInside(disk, offset, bytes);
    await disk.discard(offset, bytes);
  } catch (error) {
    reportFailed('discard', error);
    return 'failed';
  }
  reportRequest('discard', reportingOf(given), offset, bytes, performance.now() - begun);
  return 'done';
}

export const alloc: IoCommand = {
  name: 'alloc',
  synopsis: 'offset [count]',
  summary: 'counts the bytes of a range that the image has allocated',
  words: [1, 2],
  run: runAlloc,
};

const DEFAULT_COUNT = 512;

async function runAlloc(state: IoState, { operands }: GivenWords): Promise<IoOutcome> {
  const disk = diskOf(state);
  const offset = sizeWord(operands[0]);
  if (offset === null) return 'failed';
  const wanted = operands[1] === undefined ? DEFAULT_COUNT : sizeWord(operands[1]);
  if (wanted === null) return 'failed';
  const count = Math.max(0, Math.min(wanted, disk.length - offset));
  let allocated = 0;
  try {
    for (let done = 0; done < count; ) {
      const run = await disk.allocationAt(offset + done, count - done);
      if (run.allocated) allocated += run.length;
      done += run.length;
    }
  } catch (error) {
    return answerFailed(`is_allocated failed: ${wordsOf(error)}`);
  }
  write(`${allocated}/${count} bytes allocated at offset ${shownSize(offset)}\n`);
  return 'done';
}

export const map: IoCommand = {
  name: 'map',
  synopsis: '',
  summary: 'lists what the image has allocated, and what it has not',
  words: [0, 0],
  run: runMap,
};

async function runMap(state: IoState): Promise<IoOutcome> {
  const disk = diskOf(state);
  if (disk.length === 0) return answerFailed('Failed to query image length: the image is empty');
  try {
    for (let offset = 0; offset < disk.length; ) {
      const { length: bytes, allocated } = await disk.allocationAt(offset, disk.length - offset);
      const what = allocated ? '    allocated' : 'not allocated';
      write(
        `${shownSize(bytes)} (0x${bytes.toString(16)}) bytes ${what} at offset ${shownSize(offset)} (0x${offset.toString(16)})\n`,
      );
      offset += bytes;
    }
    return 'done';
  } catch (error) {
    return complain(`Failed to get allocation status: ${wordsOf(error)}`);
  }
}
