// Failures that are not handed on, since something else matters more: which of them are expected, and which are mistakes of Diskwright's.

import { reportUnexpected } from './diagnostics.js';
import { BlockError, type BlockErrorCode } from './errors.js';

/** A failure with a cause outside of Diskwright: of the system, of an image, of an argument, of the other side of a connection. */
function isForeseen(error: unknown): boolean {
  if (error instanceof BlockError) return error.code !== 'internal';
  return error instanceof Error && /^E[A-Z0-9]+$/.test(String((error as NodeJS.ErrnoException).code));
}

/** Reports what is no `BlockError` with one of `codes`. */
export function reportUnless(where: string, error: unknown, ...codes: readonly BlockErrorCode[]): void {
  if (!(error instanceof BlockError) || !codes.includes(error.code)) reportUnexpected(where, error);
}

/** Reports what is no foreseen failure. */
export function reportUnforeseen(where: string, error: unknown): void {
  if (!isForeseen(error)) reportUnexpected(where, error);
}

/** For `.catch`: the failure is of no interest (say why beside it), unless it is a mistake of Diskwright's. */
export function bestEffort(where: string): (error: unknown) => undefined {
  return (error) => {
    reportUnforeseen(where, error);
  };
}

/** For `.catch`: `value` stands for what failed, unless the failure is a mistake of Diskwright's; then it does too, and it is reported. */
export function orElse<T>(where: string, value: T): (error: unknown) => T {
  return (error) => {
    reportUnforeseen(where, error);
    return value;
  };
}

/** Runs `work` in the background: none waits for it, and it is not meant to fail. */
export function detach(where: string, work: Promise<unknown>): void {
  work.catch((error: unknown) => reportUnexpected(where, error));
}
