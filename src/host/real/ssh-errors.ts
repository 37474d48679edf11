// Errors of connections over SSH.

import { BlockError } from '../../util/errors.js';

/** Why a connection is over, in words that name the server. */
export function lostError(error: Error & { code?: unknown }, text: string): BlockError {
  if (error instanceof BlockError) return error;
  const errno = typeof error.code === 'string' && /^E[A-Z]+$/.test(error.code) ? error.code : undefined;
  return new BlockError('io', `the connection to ${text} is lost: ${error.message}`, { errno, cause: error });
}
