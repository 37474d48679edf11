// Progress of something that is no job: the average rate since it began.

import type { ProgressState } from './progress.js';

/** Too short to tell a rate from. */
const MIN_ELAPSED_MS = 200;

export function ratedState(elapsedMs: number, current: number, total: number): ProgressState {
  if (elapsedMs < MIN_ELAPSED_MS || current === 0) return { current, total };
  const bytesPerSecond = (current / elapsedMs) * 1000;
  return { current, total, bytesPerSecond, etaMs: ((total - current) / bytesPerSecond) * 1000 };
}
