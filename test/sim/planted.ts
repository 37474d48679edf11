// Tests of the tests: a fault is planted, and the scenarios must find it. It counts as found only by a violation of the kind that the fault
// plants. A seed that ends in any other way (a leak, a refused request, an exception) is passed over.

import { takeUnexpected } from '../support/unexpected.js';
import { Violation, type ViolationKind } from './guest.js';

/** Seeds within which a planted fault must be found. */
const PLANTED_SEEDS = 200;

/**
 * Rejects unless one of the first seeds breaks a promise of one of `kinds`. `run` rejects with a `Violation` where something does not hold.
 * `likely` is tried before the others: a seed that found it when the test was written. Where the scenarios have changed since, it only costs time.
 */
export async function expectFound(
  kinds: readonly ViolationKind[],
  run: (seed: number) => Promise<unknown>,
  likely = 1,
): Promise<void> {
  const others: string[] = [];
  const all = Array.from({ length: PLANTED_SEEDS }, (_, i) => i + 1);
  for (const seed of new Set([likely, ...all])) {
    try {
      await run(seed);
    } catch (error) {
      if (!(error instanceof Violation)) throw error;
      if (kinds.includes(error.kind)) return;
      others.push(`${error.kind}: ${error.message.slice(0, 200)}`);
    } finally {
      // With a fault in it, our own code may well meet what it calls impossible.
      takeUnexpected();
    }
  }
  throw new Error(`no ${kinds.join(' or ')} within ${PLANTED_SEEDS} seeds, only:\n${others.slice(0, 5).join('\n')}`);
}
