// Cancellation: the error that a cancelled operation ends with, and the check of an `AbortSignal`.

import { BlockError } from './errors.js';

/** The error of a cancelled operation. `cause`: the reason that the caller gave, or the error that the cancellation led to. */
export function cancelledError(cause?: unknown): BlockError {
  return new BlockError('cancelled', 'Operation canceled', { cause });
}

/** Throws `cancelled` if `signal` is aborted; the signal's reason is the `cause`. */
export function refuseAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw cancelledError(signal.reason);
}
