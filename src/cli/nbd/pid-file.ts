// --pid-file: a file with the process id of the server, locked while it runs.

import { closeSync, constants, fstatSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';
import { errnoName, systemWords } from '../../host/errno.js';
import { loadNative, loadOptional } from '../../host/real/binding.js';
import { BlockError, codeOfErrno } from '../../util/errors.js';
import { encodeName } from '../../util/name-bytes.js';
import { PROGRAM, program } from '../output.js';

/** Of the addon's locks. */
const EXCLUSIVE = 2;
/** More than any process id and a line feed. */
const MAX_PID_BYTES = 64;

/**
 * Writes this process's id to `path` and locks the file until the process ends. The file stays, as qemu-nbd's does. Throws `locked` where
 * another process has locked it, `invalid-argument` for an empty name, `exists` where the file has other content than a process id (it may be an image), `not-found`, `permission`, ...
 */
export function writePidFile(path: string): void {
  if (path === '' && program() === PROGRAM) {
    throw new BlockError('invalid-argument', 'The name of the file for the process id is empty', {
      operation: 'pid file',
    });
  }
  let fd: number;
  try {
    fd = openSync(encodeName(path), constants.O_RDWR | constants.O_CREAT, 0o600);
  } catch (cause) {
    throw failure(`Could not create '${path}'`, path, cause);
  }
  try {
    lockWhole(fd);
    checkContent(fd, path);
    ftruncateSync(fd);
    writeSync(fd, `${process.pid}\n`);
  } catch (cause) {
    closeSync(fd);
    if (cause instanceof BlockError) throw cause;
    throw failure(
      (cause as NodeJS.ErrnoException).code === 'EAGAIN' ? 'Cannot lock pid file' : `Could not write '${path}'`,
      path,
      cause,
    );
  }
  // The file stays open: closing it would release the lock.
}

/** Throws `exists` where the file is neither empty nor has a process id: it is somebody's data, perhaps the very image that is served. */
function checkContent(fd: number, path: string): void {
  const head = Buffer.alloc(MAX_PID_BYTES);
  const length = readSync(fd, head, 0, head.length, 0);
  const isFile = fstatSync(fd).isFile();
  if (!isFile || (length < head.length && /^\s*\d*\s*$/.test(head.toString('latin1', 0, length)))) return;
  throw new BlockError('exists', `Could not write '${path}': the file exists and does not contain a process id`, {
    path,
    operation: 'pid file',
  });
}

/**
 * Locks the file with flock, without waiting: by the package fs-ext where it is installed, else by the addon. QEMU's programs lock theirs with fcntl, which
 * flock knows nothing of: so that is done, too. Throws an error with the system's code.
 */
function lockWhole(fd: number): void {
  const taken = loadNative().lock(fd, EXCLUSIVE, 0, 0);
  if (taken !== 0) throw Object.assign(new Error('locking failed'), { code: errnoName(-taken) });
  const ext = loadOptional<typeof import('fs-ext')>('fs-ext');
  if (ext !== null) {
    ext.flockSync(fd, 'exnb');
    return;
  }
  const failed = loadNative().fileLock(fd);
  if (failed !== 0) throw Object.assign(new Error('flock failed'), { code: errnoName(-failed) });
}

function failure(what: string, path: string, cause: unknown): BlockError {
  const errno = (cause as NodeJS.ErrnoException).code ?? 'EIO';
  const code = errno === 'EAGAIN' ? 'locked' : codeOfErrno(errno);
  return new BlockError(code, `${what}: ${systemWords(errno)}`, { path, errno, operation: 'pid file', cause });
}
