// Commands about the program itself: quit, sleep, sigraise, abort, aio_flush.

import { constants } from 'node:os';
import { parseWholeNumber } from '../../util/size.js';
import { write } from '../output.js';
import { diskOf, type GivenWords, type IoCommand, type IoOutcome, type IoState } from './command.js';
import { sizeWord } from './numbers.js';

export const quit: IoCommand = {
  name: 'quit',
  alias: 'q',
  synopsis: '',
  summary: 'ends the program',
  words: [0, Number.POSITIVE_INFINITY],
  needsNoImage: true,
  run: () => 'quit',
};

export const aioFlush: IoCommand = {
  name: 'aio_flush',
  synopsis: '',
  summary: 'waits for the requests that were begun',
  words: [0, 0],
  run: runAioFlush,
};

async function runAioFlush(state: IoState): Promise<IoOutcome> {
  await diskOf(state).settle();
  return 'done';
}

export const sleep: IoCommand = {
  name: 'sleep',
  synopsis: 'milliseconds',
  summary: 'waits for a time',
  words: [1, 1],
  needsNoImage: true,
  run: runSleep,
};

/** The longest time of a timer. */
const LONGEST_MS = 2n ** 31n - 1n;

async function runSleep({ interrupted }: IoState, { operands: [text] }: GivenWords): Promise<IoOutcome> {
  const ms = parseWholeNumber(text);
  if (ms === null || ms < 0n) {
    write(`${text} is not a valid number\n`);
    return 'failed';
  }
  for (let left = ms; left > 0n && !interrupted.aborted; left -= LONGEST_MS) {
    await sleepUntil(interrupted, Number(left < LONGEST_MS ? left : LONGEST_MS));
  }
  return 'done';
}

/** Waits so long, or until `end` aborts. */
function sleepUntil(end: AbortSignal, ms: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(over, ms);
    end.addEventListener('abort', over);
    function over(): void {
      clearTimeout(timer);
      end.removeEventListener('abort', over);
      resolve();
    }
  });
}

export const sigraise: IoCommand = {
  name: 'sigraise',
  synopsis: 'signal',
  summary: 'sends the program a signal, by its number',
  details: 'What was written stays as it is then: nothing is flushed or closed.\n\nsigraise 9    as `kill -9`',
  words: [1, 1],
  needsNoImage: true,
  run: runSigraise,
};

const LAST_SIGNAL = 64;

function runSigraise(state: IoState, { operands: [text] }: GivenWords): IoOutcome {
  const signal = sizeWord(text);
  if (signal === null) return 'failed';
  if (signal > LAST_SIGNAL) {
    write(`signal argument '${text}' is too large to be a valid signal\n`);
    return 'failed';
  }
  state.releaseSignals();
  process.kill(process.pid, signal);
  return 'done';
}

export const abort: IoCommand = {
  name: 'abort',
  synopsis: '',
  summary: 'ends the program as a crash does',
  words: [0, 0],
  needsNoImage: true,
  run: (state) => {
    state.releaseSignals();
    process.kill(process.pid, constants.signals.SIGABRT);
    return 'failed';
  },
};
