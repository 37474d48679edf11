// Long work on the main thread gives others a turn now and then: requests, timers, and signals.

/** Resolves when what is waiting (answers of files, timers) has had its turn. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
