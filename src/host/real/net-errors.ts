// Errors of sockets, as a BlockError that names the address.
import { BlockError, type BlockErrorCode, codeOfErrno } from '../../util/errors.js';
import { errnoName, systemWords } from '../errno.js';

/** Error names that mean something else for sockets than for files. */
const CODES: Readonly<Record<string, BlockErrorCode>> = {
  EADDRINUSE: 'busy',
  EADDRNOTAVAIL: 'invalid-argument',
  ENOTFOUND: 'not-found',
  ETIMEDOUT: 'io',
  EAGAIN: 'io',
  ENOTSOCK: 'invalid-argument',
};

/** Why a host has no address, in the C library's words. */
const NO_ADDRESS: Readonly<Record<string, string>> = {
  ENOTFOUND: 'Name or service not known',
  EAI_AGAIN: 'Temporary failure in name resolution',
};

/** The name of a system error, or of one of the search for a host; undefined: it is none. */
export function errnoOf(error: unknown): string | undefined {
  // Where several addresses were tried, the error of the first one is reported.
  const one = error instanceof AggregateError ? error.errors[0] : error;
  const code = (one as NodeJS.ErrnoException | undefined)?.code;
  return typeof code === 'string' && /^E(?!RR_)[A-Z0-9_]+$/.test(code) ? code : undefined;
}

/** A message for a name that `errnoOf` gives. */
export function errnoWords(errno: string): string {
  return NO_ADDRESS[errno] ?? systemWords(errno);
}

/** `what`: the beginning of the message, e.g. `Failed to connect to '/x'`. */
export function netError(error: unknown, what: string, operation: string, path: string): BlockError {
  if (error instanceof BlockError) return error;
  const errno = errnoOf(error);
  if (errno === undefined) {
    return new BlockError('invalid-argument', `${what}: ${(error as Error).message}`, {
      operation,
      path,
      cause: error,
    });
  }
  if (NO_ADDRESS[errno] !== undefined) {
    const code = errno === 'ENOTFOUND' ? 'not-found' : 'io';
    return new BlockError(code, `address resolution failed for ${path}: ${errnoWords(errno)}`, {
      operation,
      path,
      errno,
      cause: error,
    });
  }
  const code = CODES[errno] ?? codeOfErrno(errno);
  return new BlockError(code, `${what}: ${systemWords(errno)}`, { operation, path, errno, cause: error });
}

/** The error of a link that failed. */
export function linkError(error: unknown, peer: string): BlockError {
  const errno = errnoOf(error);
  if (errno === undefined) {
    const { message } = error as Error;
    return BlockError.at(peer, 'io', message, { operation: 'socket', cause: error });
  }
  return BlockError.at(peer, 'io', systemWords(errno), { operation: 'socket', errno, cause: error });
}

/** As `linkError`, for an errno of either sign. */
export function errnoLinkError(errno: number, peer: string): BlockError {
  return linkError({ code: errnoName(Math.abs(errno)) }, peer);
}

/** For a descriptor that was named as a socket. */
export function notASocket(name: number | string, operation: string): BlockError {
  return new BlockError('invalid-argument', `File descriptor '${name}' is not a socket`, { operation });
}

/** As `netError`, for an errno of either sign. */
export function errnoNetError(errno: number, what: string, operation: string, path: string): BlockError {
  return netError({ code: errnoName(Math.abs(errno)) }, what, operation, path);
}
