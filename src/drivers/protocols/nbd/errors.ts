// Errors that come over the wire, and those of the wire.

import { BlockError, codeOfErrno } from '../../../util/errors.js';
import { wordsOfErrno } from '../../../util/system-words.js';
import { Command, NbdError } from '../../../wire/nbd/constants.js';

const ERRNO: Readonly<Record<number, string>> = {
  [NbdError.perm]: 'EPERM',
  [NbdError.io]: 'EIO',
  [NbdError.noMemory]: 'ENOMEM',
  [NbdError.invalid]: 'EINVAL',
  [NbdError.noSpace]: 'ENOSPC',
  [NbdError.overflow]: 'EOVERFLOW',
  [NbdError.notSupported]: 'ENOTSUP',
  [NbdError.shutdown]: 'ESHUTDOWN',
};

const OPERATIONS: Readonly<Record<number, string>> = {
  [Command.read]: 'read',
  [Command.write]: 'write',
  [Command.flush]: 'flush',
  [Command.trim]: 'discard',
  [Command.writeZeroes]: 'write zeroes',
  [Command.blockStatus]: 'block status',
};

export function operationName(command: number): string {
  return OPERATIONS[command] ?? `command ${command}`;
}

/** What the server answered to one request; a number that the protocol does not know counts as EINVAL. */
export function replyError(
  path: string,
  command: number,
  offset: number,
  length: number,
  error: number,
  message: string,
): BlockError {
  const errno = ERRNO[error] ?? 'EINVAL';
  const operation = operationName(command);
  const said = message === '' ? '' : ` (server reported: ${message})`;
  // A server without memory is no limit of this process.
  const code = errno === 'ENOMEM' ? 'io' : codeOfErrno(errno);
  // A flush has no place.
  const placed = command !== Command.flush;
  const what = placed ? `${operation} of ${length} bytes at ${offset}` : operation;
  return BlockError.at(path, code, `${what} failed: ${wordsOfErrno(errno) ?? errno}${said}`, {
    operation,
    ...(placed && { offset, length }),
    errno,
  });
}

/** A request that met a lost connection. */
export function lostError(
  path: string,
  command: number,
  offset: number,
  length: number,
  cause: BlockError,
): BlockError {
  const operation = operationName(command);
  return BlockError.at(path, cause.code === 'closed' ? 'closed' : 'io', `${operation} failed: ${cause.message}`, {
    operation,
    ...(command !== Command.flush && { offset, length }),
    errno: cause.errno ?? 'EIO',
    cause,
  });
}
