// From -errno to a BlockError that names what failed, where and why.
import { constants } from 'node:os';
import { getSystemErrorMap } from 'node:util';
import { BlockError, codeOfErrno } from '../util/errors.js';
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

/** The C library's message for an error name, e.g. `Connection refused`. */
export function systemWords(name: string): string {
  const known = wordsOfErrno(name);
  if (known !== undefined) return known;
  if (name === 'EADDRNOTAVAIL') return 'Cannot assign requested address';
  const number = constants.errno[name as keyof typeof constants.errno];
  const words = getSystemErrorMap().get(-number)?.[1] ?? name;
  return words[0].toUpperCase() + words.slice(1);
}
