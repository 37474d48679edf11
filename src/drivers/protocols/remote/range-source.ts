// A file on a server, that is read by ranges, over a connection that may break at any time.
//
//   fetchWhole --fetch(from, to)--> server            broken off, or no answer: a pause, and on from where it broke
//        ^-- take(bytes) ... ----------'              the server says that it will not, or the file is another one: the end

import type { Clock } from '../../../host/host.js';
import { sleep } from '../../../host/sleep.js';
import { refuseAborted } from '../../../util/abort.js';
import { BlockError } from '../../../util/errors.js';

export interface RangeSource {
  /** Bytes of the file. */
  readonly size: number;
  /**
   * Asks for a range within the file, and calls `take` with its bytes, in order, as they come. Resolves where the server has answered, be it with fewer bytes. Rejects with `io`
   * where another attempt may do, with `cancelled`, and with any other code where none will.
   */
  fetch(offset: number, length: number, take: (bytes: Uint8Array) => void, signal: AbortSignal): Promise<void>;
}

/** Attempts in a row that bring nothing. */
export const MOST_FAILURES = 6;
/** What a server must bring in a step, and how long a step may take: of one that hands out a byte at a time, no read would end. */
const STEP_BYTES = 4096;
const LONGEST_STEP_MS = 30_000;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5000;

/** What pauses are made with. */
export interface Pauses {
  readonly clock: Clock;
  /** 32 random bits. */
  random(): number;
}

/** Runs `attempt` until it does not reject with `io`, `most` times at most, with pauses that double. Rejects as the last attempt, and with `cancelled`. */
export async function withPatience<T>(
  pauses: Pauses,
  signal: AbortSignal,
  most: number,
  attempt: (again: () => void) => Promise<T>,
): Promise<T> {
  let failures = 0;
  // Something has come: whatever fails next is the first failure in a row.
  const again = () => {
    failures = 0;
  };
  for (;;) {
    try {
      return await attempt(again);
    } catch (error) {
      failures++;
      if (!(error instanceof BlockError) || error.code !== 'io' || failures >= most) throw error;
    }
    await sleep(pauses.clock, pauseMs(failures, pauses.random()), signal);
    refuseAborted(signal);
  }
}

/** Half of the time is random: clients that have failed together do not come back together. */
function pauseMs(failures: number, random: number): number {
  const longest = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (failures - 1));
  return longest * (0.5 + random / 2 ** 33);
}

/** Fetches a range whole, and calls `take` with its bytes and how many came before them. Rejects as `RangeSource.fetch`, after some attempts with `io`, too: also where too little comes. */
export async function fetchWhole(
  source: RangeSource,
  offset: number,
  length: number,
  take: (at: number, bytes: Uint8Array) => void,
  signal: AbortSignal,
  pauses: Pauses,
): Promise<void> {
  const { clock } = pauses;
  const tooSlow = (why: string) => new BlockError('io', `the server has answered ${why}`, { operation: 'read' });
  let got = 0;
  let stepAt = 0;
  await withPatience(pauses, signal, MOST_FAILURES, async (again) => {
    let stepMs = clock.now();
    const accept = (bytes: Uint8Array): void => {
      take(got, bytes);
      got += bytes.length;
      if (got - stepAt >= STEP_BYTES) {
        stepAt = got;
        stepMs = clock.now();
        again();
      } else if (clock.now() - stepMs > LONGEST_STEP_MS) throw tooSlow('too slowly');
    };
    while (got < length) {
      const before = got;
      await source.fetch(offset + got, length - got, accept, signal);
      if (got === before) throw tooSlow('without data');
      if (got < length && got - before < STEP_BYTES) throw tooSlow('with a few bytes at a time');
    }
  });
}
