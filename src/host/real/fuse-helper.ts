// fusermount3, which mounts for users that may not do so themselves. Its messages are passed on.

import { spawn } from 'node:child_process';
import { closeSync } from 'node:fs';
import { BlockError } from '../../util/errors.js';
import { errnoName, systemWords } from '../errno.js';
import type { Native } from './binding.js';

const PROGRAM = 'fusermount3';
/** The descriptor in that program of the socket by which it passes the one of /dev/fuse. */
const SOCKET_FD = 3;

/** Mounts `path`, and resolves with the descriptor. Rejects with `unsupported` where there is no such program, and `permission` where it refuses. `name`: as it was asked for. */
export async function mountByHelper(native: Native, path: string, name: string, options: string): Promise<number> {
  const ends = native.socketPair();
  if (typeof ends === 'number') {
    throw new BlockError('limit', `Failed to mount '${name}': ${systemWords(errnoName(-ends))}`, { path: name });
  }
  const [ours, theirs] = ends;
  try {
    const said = await run(['-o', options, '--', path], theirs, name);
    const fd = native.receiveDescriptor(ours);
    if (said === null && fd >= 0) return fd;
    if (fd >= 0) closeSync(fd);
    const why = said ?? `it has passed no descriptor (${errnoName(-fd)})`;
    throw new BlockError('permission', `Failed to mount '${name}': ${why}`, { path: name, operation: 'mount' });
  } finally {
    closeSync(ours);
    closeSync(theirs);
  }
}

/** Unmounts `path` lazily. Rejects with `unsupported` where there is no such program, and `permission` and what it says. */
export async function unmountByHelper(path: string): Promise<void> {
  const said = await run(['-uz', '--', path], null, path);
  if (said === null) return;
  throw new BlockError('permission', `Failed to unmount '${path}': ${said}`, { path, operation: 'unmount' });
}

/** What the program says where it fails; null where it does not. */
function run(args: readonly string[], socket: number | null, name: string): Promise<string | null> {
  return new Promise((resolve, reject) => {
    const env = socket === null ? process.env : { ...process.env, _FUSE_COMMFD: String(SOCKET_FD) };
    const child = spawn(PROGRAM, args, { env, stdio: ['ignore', 'ignore', 'pipe', socket ?? 'ignore'] });
    let said = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    child.once('error', (cause: NodeJS.ErrnoException) => {
      const missing = cause.code === 'ENOENT';
      const why = missing
        ? `'${name}': this user may not do that, and there is no ${PROGRAM} that could`
        : `${PROGRAM} cannot be run: ${systemWords(cause.code ?? 'EIO')}`;
      reject(new BlockError(missing ? 'unsupported' : 'io', why, { path: name, operation: 'mount', cause }));
    });
    child.once('close', (code) => resolve(code === 0 ? null : said.trim() || `${PROGRAM} ended with ${code}`));
  });
}
