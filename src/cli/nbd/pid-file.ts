// The file that says which process serves.

import { closeSync, constants, ftruncateSync, openSync, writeSync } from 'node:fs';
import { load } from '../../host/real/binding.js';
import { systemWords } from '../../host/real/errno.js';
import { BlockError, codeOfErrno } from '../../util/errors.js';

/**
 * Writes this process's number to `path` and locks the file until the process ends. The file stays, as qemu-nbd's does. Throws `locked` where
 * another process holds it, `not-found`, `permission`, ...
 */
export function writePidFile(path: string): void {
  const { flockSync } = load('fs-ext') as typeof import('fs-ext');
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600);
  } catch (cause) {
    throw failure(`Could not create '${path}'`, path, cause);
  }
  try {
    flockSync(fd, 'exnb');
    ftruncateSync(fd);
    writeSync(fd, `${process.pid}\n`);
  } catch (cause) {
    closeSync(fd);
    throw failure(
      (cause as NodeJS.ErrnoException).code === 'EAGAIN' ? 'Cannot lock pid file' : `Could not write '${path}'`,
      path,
      cause,
    );
  }
  // Open from here on: the lock lives with it.
}

function failure(what: string, path: string, cause: unknown): BlockError {
  const errno = (cause as NodeJS.ErrnoException).code ?? 'EIO';
  const code = errno === 'EAGAIN' ? 'locked' : codeOfErrno(errno);
  return new BlockError(code, `${what}: ${systemWords(errno)}`, { path, errno, operation: 'pid file', cause });
}
