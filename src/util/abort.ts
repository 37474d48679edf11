// Ends by request: the error of what was cancelled, and the look at an `AbortSignal`.

import { BlockError } from './errors.js';

/** `cause` is the reason that whoever cancelled has given, or what failed by it. */
export function cancelledError(cause?: unknown): BlockError {
  return new BlockError('cancelled', 'Operation canceled', { cause });
}

/** Throws `cancelled` once `signal` is aborted; its reason is the cause. */
export function refuseAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw cancelledError(signal.reason);
}
