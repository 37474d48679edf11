// Which processes have a lock on a byte of a file. The system tells it of each open file that this user may look at (/proc/PID/fdinfo); /proc/locks has no
// process for the locks of open file descriptions.

import { readdirSync, readFileSync, statSync } from 'node:fs';
import { encodeName } from '../../util/name-bytes.js';

export interface LockHolder {
  pid: number;
  /** Its program's name; a command line may have passwords in it. */
  name: string;
}

const LOCK = /^lock:\s+\d+: OFDLCK\s+\S+\s+\S+\s+\S+\s+\S+\s+(\d+) (\d+|EOF)$/gm;

/** Other processes that have a lock on the byte at `offset` of `path`: those that can be found, up to `most`. Never throws. */
export function lockHolders(path: string, offset: number, most: number): LockHolder[] {
  const file = identityOf(encodeName(path));
  const found: LockHolder[] = [];
  if (file === null) return found;
  for (const pid of namesIn('/proc')) {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) continue;
    if (holds(pid, file, offset)) found.push({ pid: Number(pid), name: nameOf(pid) });
    if (found.length === most) break;
  }
  return found;
}

function holds(pid: string, file: string, offset: number): boolean {
  return namesIn(`/proc/${pid}/fdinfo`).some((fd) => {
    for (const [, first, last] of textOf(`/proc/${pid}/fdinfo/${fd}`).matchAll(LOCK)) {
      const covers = Number(first) <= offset && (last === 'EOF' || offset <= Number(last));
      if (covers && identityOf(`/proc/${pid}/fd/${fd}`) === file) return true;
    }
    return false;
  });
}

function nameOf(pid: string): string {
  return textOf(`/proc/${pid}/comm`).trim();
}

/** Device and inode; null where it cannot be told. */
function identityOf(path: string | Buffer): string | null {
  try {
    const { dev, ino } = statSync(path, { bigint: true });
    return `${dev}:${ino}`;
  } catch {
    return null;
  }
}

/** A process may end meanwhile, or be another user's: then nothing is known of it. */
function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
