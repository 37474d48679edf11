// Progress of a command that runs no job: the average rate since its start.

import type { ProgressState } from './progress.js';

/** Before that time no rate is shown. */
const MIN_ELAPSED_MS = 200;

/** The state after `elapsedMs`, with rate and remaining time; `current` and `total` are bytes. */
export function ratedState(elapsedMs: number, current: number, total: number): ProgressState {
  if (elapsedMs < MIN_ELAPSED_MS || current === 0) return { current, total };
  const bytesPerSecond = (current / elapsedMs) * 1000;
  return { current, total, bytesPerSecond, etaMs: ((total - current) / bytesPerSecond) * 1000 };
}
