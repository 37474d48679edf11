// Which permissions a new file has. Node's `process.umask()` is no way to learn that: for a moment it sets another mask, which files get that other threads make then.

import { readFileSync } from 'node:fs';

const NEW_FILE = 0o644;

/** The permission bits that a file gets which this process makes. */
export function permissionsOfNewFile(): number {
  const mask = /^Umask:\s*([0-7]+)$/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1];
  // A system that does not say it (Linux before 4.7): nobody but the owner.
  return NEW_FILE & ~Number.parseInt(mask ?? '077', 8);
}
