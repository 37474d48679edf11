// Where file systems, or parts of one (bind mounts), are mounted: /proc/self/mountinfo. The device of what lies there does not tell it: a part of the same file system has
// the same one, and nothing can be renamed from the one to the other nevertheless.
//
//   42 27 254:0 /part /where/it\040is rw,relatime - ext4 /dev/vda rw

import { decodeName } from '../../util/name-bytes.js';
import type { FolderPath } from '../host.js';

const MOUNT_POINT_FIELD = 4;

/** What lies below the folder at this absolute path, in which the system follows no links, and is mounted. `mounts`: the bytes of /proc/self/mountinfo. */
export function mountsBelow(folder: Buffer, mounts: Buffer): FolderPath[] {
  const start = folder.toString('latin1').replace(/\/*$/, '/');
  const found = new Set<string>();
  for (const line of mounts.toString('latin1').split('\n')) {
    const field = line.split(' ').at(MOUNT_POINT_FIELD);
    const path = field?.replace(/\\([0-7]{3})/g, (_, digits: string) =>
      String.fromCharCode(Number.parseInt(digits, 8)),
    );
    if (path?.startsWith(start) && path.length > start.length) found.add(path.slice(start.length));
  }
  return [...found].map((path) => path.split('/').map((name) => decodeName(Buffer.from(name, 'latin1'))));
}
