// What must be true where a wrong state would be written to an image, or would let a request go where it must not. These checks stay in
// releases: each is a comparison of numbers that are at hand, and tests only what Diskwright itself decides. What an image, a user or the
// system can cause is an error of its own kind, never a failed assert.

import { reportUnexpected } from './diagnostics.js';
import { BlockError } from './errors.js';

/** Throws `internal` where `condition` is false, so that what would follow is not done. `must` says what has to be true. */
export function assert(condition: boolean, must: string): asserts condition {
  if (condition) return;
  const error = new BlockError('internal', `assertion failed: ${must}`);
  reportUnexpected('assert', error);
  throw error;
}
