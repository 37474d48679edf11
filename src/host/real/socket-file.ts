// The file of a listening UNIX socket. An existing file is kept where a server listens at it, and replaced where none does. This process's own file is
// removed at the end, unless another process has replaced it meanwhile.
//
//   lock the folder -> bind -> in use? -> not a socket, or a server accepts the connection: error
//                        |             \-> connection refused: remove the file, bind again
//                        \-> remember the file's device and inode -> listen
import { closeSync, constants as fsConstants, lstatSync, openSync, unlinkSync } from 'node:fs';
import { constants } from 'node:os';
import { dirname } from 'node:path';
import { encodeName } from '../../util/name-bytes.js';
import { nodeError } from '../errno.js';
import type { Native } from './binding.js';

const { EADDRINUSE, ECONNREFUSED, EAGAIN } = constants.errno;
/** Longest path of a UNIX socket (sun_path, with a NUL at its end, or at its start). */
export const PATH_LIMIT_BYTES = 107;
const RETRY_MS = 2;
/** How long to wait for the lock of a socket's folder. Diskwright holds it for a few system calls only; other programs may hold it longer. */
const LOCK_WAIT_MS = 500;

/** Bytes of a name in the abstract name space; `padded`: it fills the address. */
export function abstractName(name: string, padded: boolean): Uint8Array {
  const bytes = encodeName(name);
  return padded ? Buffer.concat([bytes], PATH_LIMIT_BYTES) : bytes;
}

/** A listening socket and its file. */
export interface ListeningFile {
  fd: number;
  /** Removes the file. Throws where it cannot. A file that has replaced it is kept. */
  remove: () => void;
}

/** Listens at `path`. Resolves with -errno where the socket cannot be bound. */
export async function listenAtFile(native: Native, path: string, backlog: number): Promise<ListeningFile | number> {
  const release = await lockFolder(native, path);
  try {
    const fd = bindAtFile(native, path);
    if (fd < 0) return fd;
    // Before it listens: whoever waits for the server may move its file as soon as it does.
    const remove = ownFile(path);
    const listening = native.listenOn(fd, backlog);
    if (listening >= 0) return { fd, remove };
    remove();
    return listening;
  } finally {
    release();
  }
}

function bindAtFile(native: Native, path: string): number {
  const name = encodeName(path);
  const fd = native.bindUnix(name, false);
  if (fd !== -EADDRINUSE || !isDead(native, path)) return fd;
  unlinkSync(name);
  return native.bindUnix(name, false);
}

/** Returns a function that removes the socket that is at `path` now, as long as it is still there. */
function ownFile(path: string): () => void {
  const name = encodeName(path);
  const own = lstatSync(name, { bigint: true, throwIfNoEntry: false });
  return () => {
    if (own === undefined) return;
    const { dev, ino } = own;
    try {
      const now = lstatSync(name, { bigint: true, throwIfNoEntry: false });
      if (now !== undefined && now.dev === dev && now.ino === ino) unlinkSync(name);
    } catch (error) {
      throw nodeError(error, { operation: 'close', path });
    }
  };
}

/** True for a socket (not a link to one) that no process listens at. */
function isDead(native: Native, path: string): boolean {
  if (lstatSync(encodeName(path), { throwIfNoEntry: false })?.isSocket() !== true) return false;
  const fd = native.connectUnix(encodeName(path), false);
  if (fd >= 0) native.closeSocket(fd);
  return fd === -ECONNREFUSED;
}

/**
 * Locks the folder of a socket. Of two processes that find a dead socket, the slower one must not remove the faster one's new socket, which looks dead, too,
 * between bind and listen. Where the folder cannot be locked, it is used without a lock.
 */
async function lockFolder(native: Native, path: string): Promise<() => void> {
  let fd: number;
  try {
    fd = openSync(encodeName(dirname(path)), fsConstants.O_RDONLY | fsConstants.O_DIRECTORY);
  } catch {
    // The folder does not exist, or cannot be read: bind reports the error, if it matters.
    return () => undefined;
  }
  for (let waitedMs = 0; native.fileLock(fd) === -EAGAIN && waitedMs < LOCK_WAIT_MS; waitedMs += RETRY_MS) {
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
  return () => closeSync(fd);
}
