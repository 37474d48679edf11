// Errors of requests: those that the server reports, and those of a lost connection.

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

/** The error that the server reports for one request. An error number that the protocol does not define counts as EINVAL. */
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
  // `limit` means a limit of this process; here the server has no memory.
  const code = errno === 'ENOMEM' ? 'io' : codeOfErrno(errno);
  // A flush has no offset and length.
  const placed = command !== Command.flush;
  const what = placed ? `${operation} of ${length} bytes at ${offset}` : operation;
  return BlockError.at(path, code, `${what} failed: ${wordsOfErrno(errno) ?? errno}${said}`, {
    operation,
    ...(placed && { offset, length }),
    errno,
  });
}

/** The error of a request whose connection was lost. */
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
