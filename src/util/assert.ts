// Asserts. They stand where a wrong state would be written to an image, or would send a request to the wrong place. They stay in releases:
// each compares numbers that are at hand, and tests only what Diskwright itself decides. A state that an image, a user or the system can
// cause is reported by an ordinary error, never by a failed assert.

import { reportUnexpected } from './diagnostics.js';
import { BlockError } from './errors.js';

/** Throws `internal`, and reports it, where `condition` is false, so that the caller does not go on. `must` says what has to be true. */
export function assert(condition: boolean, must: string): asserts condition {
  if (condition) return;
  const error = new BlockError('internal', `assertion failed: ${must}`);
  reportUnexpected('assert', error);
  throw error;
}
