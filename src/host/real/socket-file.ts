// The file of a UNIX socket that is listened on: one that is there already is replaced, and ours goes when we are done, unless somebody
// has put another one there meanwhile.
import { lstat, lstatSync, unlink, unlinkSync } from 'node:fs';
import { promisify } from 'node:util';
import { netError } from './net-errors.js';

/** Removes a socket at `path`. What is no socket stays where it is: then listening fails, since the name is taken. */
export async function removeSocketFile(path: string): Promise<void> {
  try {
    if ((await promisify(lstat)(path)).isSocket()) await promisify(unlink)(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw netError(error, `Failed to bind socket to ${path}`, 'listen', path);
  }
}

/** Notes which file was made just now; the result removes that very one. */
export function ownSocketFile(path: string): () => void {
  const { dev, ino } = lstatSync(path, { bigint: true });
  return () => {
    const now = lstatSync(path, { bigint: true, throwIfNoEntry: false });
    if (now !== undefined && now.dev === dev && now.ino === ino) unlinkSync(path);
  };
}
