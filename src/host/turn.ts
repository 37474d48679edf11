// Long work on the main thread gives others a turn now and then: requests, timers, and signals.

import type { Clock } from './host.js';

/** Resolves when what is waiting (answers of files, timers) has had its turn. */
export function nextTurn(clock: Clock): Promise<void> {
  return new Promise((resolve) => {
    clock.timer(0, resolve);
  });
}
