// The file of a UNIX socket that is listened on: one that is there already is replaced, and ours goes when we are done, unless somebody
// has put another one there meanwhile.
import { lstat, lstatSync, unlink, unlinkSync } from 'node:fs';
import { promisify } from 'node:util';
import { encodeName } from '../../util/name-bytes.js';
import { netError } from './net-errors.js';

/** Removes a socket at `path`. What is no socket stays where it is: then listening fails, since the name is taken. */
export async function removeSocketFile(path: string): Promise<void> {
  try {
    const name = encodeName(path);
    if ((await promisify(lstat)(name)).isSocket()) await promisify(unlink)(name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw netError(error, `Failed to bind socket to ${path}`, 'listen', path);
  }
}

/** Notes which file was made just now; the result removes that very one. */
export function ownSocketFile(path: string): () => void {
  const name = encodeName(path);
  const { dev, ino } = lstatSync(name, { bigint: true });
  return () => {
    const now = lstatSync(name, { bigint: true, throwIfNoEntry: false });
    if (now !== undefined && now.dev === dev && now.ino === ino) unlinkSync(name);
  };
}
