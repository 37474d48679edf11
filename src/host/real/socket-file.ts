// The file of a UNIX socket that is listened on: one that a server listens at stays, a dead one is replaced, and the own one is removed at the end,
// unless another has taken its place meanwhile.
//
//   lock the folder -> bind -> in use? -> no socket, or a server answers: refused
//                                      \-> no answer: remove it, bind again
import { closeSync, constants as fsConstants, lstatSync, openSync, unlinkSync } from 'node:fs';
import { constants } from 'node:os';
import { dirname } from 'node:path';
import { toBlockError } from '../../util/errors.js';
import { encodeName } from '../../util/name-bytes.js';
import type { Native } from './binding.js';

const { EADDRINUSE, ECONNREFUSED, EAGAIN } = constants.errno;
const RETRY_MS = 2;
/** How long to wait for the lock of a socket's folder. Diskwright holds it for a few system calls only; other programs may hold it longer. */
const LOCK_WAIT_MS = 500;

/** Listens at `path`: the descriptor, or -errno. */
export async function listenAtFile(native: Native, path: string, backlog: number): Promise<number> {
  const name = encodeName(path);
  const release = await lockFolder(native, path);
  try {
    const fd = native.listenUnix(name, false, backlog);
    if (fd !== -EADDRINUSE || !isDead(native, path)) return fd;
    unlinkSync(encodeName(path));
    return native.listenUnix(name, false, backlog);
  } finally {
    release();
  }
}

/** Notes which file was made just now; the result removes that very one, and throws where it cannot. To be called while it is still listened on: then no other process replaces it. */
export function ownSocketFile(path: string): () => void {
  const name = encodeName(path);
  const { dev, ino } = lstatSync(name, { bigint: true });
  return () => {
    try {
      const now = lstatSync(name, { bigint: true, throwIfNoEntry: false });
      if (now !== undefined && now.dev === dev && now.ino === ino) unlinkSync(name);
    } catch (error) {
      throw toBlockError(error, { operation: 'close', path });
    }
  };
}

/** It is a socket (no link to one) that no process listens at. */
function isDead(native: Native, path: string): boolean {
  if (lstatSync(encodeName(path), { throwIfNoEntry: false })?.isSocket() !== true) return false;
  const fd = native.connectUnix(encodeName(path), false);
  if (fd >= 0) native.closeSocket(fd);
  return fd === -ECONNREFUSED;
}

/**
 * Of two processes that find a dead socket, the slower one must not take the faster one's: between bind and listen, that looks dead, too. A
 * folder that cannot be locked is used all the same.
 */
async function lockFolder(native: Native, path: string): Promise<() => void> {
  let fd: number;
  try {
    fd = openSync(encodeName(dirname(path)), fsConstants.O_RDONLY | fsConstants.O_DIRECTORY);
  } catch {
    // Not there, or not to be read: binding says what is wrong, if anything is.
    return () => undefined;
  }
  for (let waitedMs = 0; native.fileLock(fd) === -EAGAIN && waitedMs < LOCK_WAIT_MS; waitedMs += RETRY_MS) {
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
  return () => closeSync(fd);
}
