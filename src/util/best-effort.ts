// Failures that are not passed on to a caller, since something else matters more. An expected failure is dropped; one that is a mistake of
// Diskwright's is reported (see `diagnostics.ts`).

import { reportUnexpected } from './diagnostics.js';
import { BlockError, type BlockErrorCode } from './errors.js';

/** True for a failure with a cause outside of Diskwright: the system, an image, an argument, the other side of a connection. */
function isForeseen(error: unknown): boolean {
  if (error instanceof BlockError) return error.code !== 'internal';
  return error instanceof Error && /^E[A-Z0-9]+$/.test(String((error as NodeJS.ErrnoException).code));
}

/** Reports `error`, unless it is a `BlockError` with one of `codes`. */
export function reportUnless(where: string, error: unknown, ...codes: readonly BlockErrorCode[]): void {
  if (!(error instanceof BlockError) || !codes.includes(error.code)) reportUnexpected(where, error);
}

/** Reports `error`, unless its cause is outside of Diskwright. */
export function reportUnforeseen(where: string, error: unknown): void {
  if (!isForeseen(error)) reportUnexpected(where, error);
}

/** For `.catch`: ignores the failure (say why beside the call). A mistake of Diskwright's is reported. */
export function bestEffort(where: string): (error: unknown) => undefined {
  return (error) => {
    reportUnforeseen(where, error);
  };
}

/** For `.catch`: resolves with `value` in place of the failure. A mistake of Diskwright's is reported as well. */
export function orElse<T>(where: string, value: T): (error: unknown) => T {
  return (error) => {
    reportUnforeseen(where, error);
    return value;
  };
}

/** Leaves `work` to run in the background: nobody waits for it. It is not expected to fail; any failure is reported. */
export function detach(where: string, work: Promise<unknown>): void {
  work.catch((error: unknown) => reportUnexpected(where, error));
}
