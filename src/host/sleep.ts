// Waiting by a host's clock.

import type { Clock } from './host.js';

/** Resolves after `ms` milliseconds, or as soon as `signal` is aborted. */
export function sleep(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const end = (): void => {
      cancel();
      signal?.removeEventListener('abort', end);
      resolve();
    };
    const cancel = clock.timer(ms, end);
    signal?.addEventListener('abort', end);
  });
}

/** Long work on the main thread gives others a turn now and then: resolves when what is waiting (answers of files, timers, signals) has had its own. */
export function nextTurn(clock: Clock): Promise<void> {
  return sleep(clock, 0);
}
