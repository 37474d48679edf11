// The rate that is shown, and the time that is left by it: that of what is copied, which is what a limit limits. What is passed over (holes, zeroes) counts as
// done, and in no rate.

import { timeLeft } from '../jobs/progress.js';
import type { ProgressState } from './progress.js';

/** Before that time no rate is shown. */
const MIN_ELAPSED_MS = 200;

/** How far a copy is, in bytes. */
export interface Copied {
  current: number;
  total: number;
  /** Of `current`, what was copied. */
  moved: number;
}

export interface RateHints {
  /** Rate limit, bytes a second; 0: none. */
  limit?: number;
  /** Bytes that are copied in all, where that is known. */
  data?: number;
}

/** The state after `elapsedMs` of a command that runs no job: its rate is the average since the start. */
export function ratedState(elapsedMs: number, copied: Copied, hints: RateHints = {}): ProgressState {
  const { current, total, moved } = copied;
  if (elapsedMs < MIN_ELAPSED_MS || moved === 0) return { current, total };
  return stateOf(copied, (moved / elapsedMs) * 1000, hints);
}

/** The state of what is copied at a rate; undefined: none is known yet. What a limit lets through at once, at the begin, is not shown as a rate beyond it. */
export function stateOf(
  { current, total, moved }: Copied,
  bytesPerSecond: number | undefined,
  { limit = 0, data }: RateHints = {},
): ProgressState {
  const rate = bytesPerSecond !== undefined && limit > 0 ? Math.min(bytesPerSecond, limit) : bytesPerSecond;
  const left = data === undefined ? undefined : Math.max(0, data - moved);
  return { current, total, bytesPerSecond: rate, etaMs: timeLeft({ current, total, moved }, rate, left) };
}
