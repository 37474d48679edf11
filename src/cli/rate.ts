// Progress of a command that runs no job: the average rate since its start.

import type { ProgressState } from './progress.js';

/** Before that time no rate is shown. */
const MIN_ELAPSED_MS = 200;

/**
 * The state after `elapsedMs`, with rate and remaining time; `current` and `total` are bytes. `limit`: see `limitedState`.
 */
export function ratedState(elapsedMs: number, current: number, total: number, limit = 0): ProgressState {
  if (elapsedMs < MIN_ELAPSED_MS || current === 0) return { current, total };
  const bytesPerSecond = (current / elapsedMs) * 1000;
  return limitedState({ current, total, bytesPerSecond, etaMs: ((total - current) / bytesPerSecond) * 1000 }, limit);
}

/**
 * The state of what may move at most `limit` bytes a second (0: no limit). What it passes over (holes) counts as done, and is not limited: the rate that is shown, and the
 * remaining time by it, is what the limit lets through at most.
 */
export function limitedState<S extends ProgressState>(state: S, limit: number): S {
  const { current, total, bytesPerSecond } = state;
  if (limit === 0 || bytesPerSecond === undefined || bytesPerSecond <= limit) return state;
  return { ...state, bytesPerSecond: limit, etaMs: ((total - current) / limit) * 1000 };
}
