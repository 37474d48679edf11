// From -errno, or an error that node has thrown, to a BlockError that names what failed, where and why.
import { constants } from 'node:os';
import { getSystemErrorMap } from 'node:util';
import { BlockError, codeOfErrno, toBlockError } from '../util/errors.js';
import { wordsOfErrno } from '../util/system-words.js';

const NAMES = new Map<number, string>();
for (const [name, value] of Object.entries(constants.errno)) {
  // Some numbers have two names (EAGAIN, EWOULDBLOCK): the first is the usual one.
  if (!NAMES.has(value)) NAMES.set(value, name);
}

export interface FailedRequest {
  operation: string;
  path: string;
  offset?: number;
  length?: number;
}

/** Name of a positive errno, e.g. `ENOSPC`; `E117` where the system has no name for it. */
export function errnoName(errno: number): string {
  return NAMES.get(errno) ?? `E${errno}`;
}

/** The error of a request that failed with `errno`, which may have either sign. */
export function errnoError(errno: number, failed: FailedRequest): BlockError {
  const number = Math.abs(errno);
  const name = errnoName(number);
  const words = getSystemErrorMap().get(-number)?.[1] ?? name;
  const where = failed.offset === undefined ? '' : ` at offset ${failed.offset}, ${failed.length ?? 0} bytes`;
  return BlockError.at(failed.path, codeOfErrno(name), `${failed.operation}${where}: ${words}`, {
    ...failed,
    errno: name,
    fromSystem: true,
  });
}

/**
 * The error of a call of node's that has failed: like `errnoError`, since node's message has the name of node's function, and other words than the system.
 * Whatever is no error of the system is handed to `toBlockError`.
 */
export function nodeError(error: unknown, failed: FailedRequest): BlockError {
  const errno = error instanceof BlockError ? undefined : (error as NodeJS.ErrnoException | null)?.errno;
  return typeof errno === 'number' ? errnoError(errno, failed) : toBlockError(error, failed);
}

/** The C library's message for an error name, e.g. `Connection refused`. */
export function systemWords(name: string): string {
  const known = wordsOfErrno(name);
  if (known !== undefined) return known;
  if (name === 'EADDRNOTAVAIL') return 'Cannot assign requested address';
  const number = constants.errno[name as keyof typeof constants.errno];
  const words = getSystemErrorMap().get(-number)?.[1] ?? name;
  return words[0].toUpperCase() + words.slice(1);
}
