// File systems whose files can share blocks, each in a file of the temporary folder.

import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Context } from 'mocha';
import { leaveOut } from './needs.js';

export const REFLINK_SYSTEMS = ['xfs', 'btrfs'] as const;

const MAKE: Record<(typeof REFLINK_SYSTEMS)[number], string[]> = {
  xfs: ['mkfs.xfs', '-q', '-m', 'reflink=1'],
  btrfs: ['mkfs.btrfs', '-q'],
};
const SIZE = 512 << 20;

export interface Mounted {
  folder: string;
  remove(): void;
}

/** Mounts a new file system; to be called in a `before` hook. Leaves the suite out where that cannot be done. */
export function mountReflink(context: Context, system: (typeof REFLINK_SYSTEMS)[number]): Mounted {
  const at = mkdtempSync(join(tmpdir(), 'diskwright-reflink-'));
  const [disk, folder] = [join(at, 'disk'), join(at, 'mounted')];
  writeFileSync(disk, '');
  truncateSync(disk, SIZE);
  mkdirSync(folder);
  const [make, ...words] = MAKE[system];
  const done = (program: string, args: string[]) => spawnSync(program, args, { stdio: 'ignore' }).status === 0;
  if (!done(make, [...words, disk]) || !done('mount', ['-o', 'loop', disk, folder])) {
    rmSync(at, { recursive: true });
    return leaveOut(context, 'reflink');
  }
  return {
    folder,
    remove: () => {
      if (!done('umount', [folder])) throw new Error(`${folder} cannot be unmounted`);
      rmSync(at, { recursive: true });
    },
  };
}

/** Bytes of a file that it shares with others. */
export function sharedBytes(path: string): number {
  spawnSync('sync', [path]);
  const { stdout, status } = spawnSync('filefrag', ['-b1', '-v', path], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`filefrag ${path} failed`);
  // "   0:        0..    4095:      81920..     86015:   4096:             last,shared,eof"
  const extents = [...stdout.matchAll(/^ *\d+:.*?\.\..*?\.\. *\d+: *(\d+):.*\bshared\b/gm)];
  return extents.reduce((sum, [, length]) => sum + Number(length), 0);
}
