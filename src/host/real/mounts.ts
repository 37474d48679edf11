// Where file systems, or parts of one (bind mounts), are mounted: /proc/self/mountinfo. The device of what lies there does not tell it: a part of the same file system has
// the same one, and nothing can be renamed from the one to the other nevertheless.
//
//   42 27 254:0 /part /where/it\040is rw,relatime - ext4 /dev/vda rw

import { decodeName } from '../../util/name-bytes.js';
import type { FolderPath } from '../host.js';

const DEVICE_FIELD = 2;
const MOUNT_POINT_FIELD = 4;

/** One line of the file. */
export interface MountEntry {
  /** `major:minor`. */
  device: string;
  /** Absolute. */
  path: string;
  /** `ext4`, `fuse.diskwright`. */
  type: string;
  source: string;
}

/** What is mounted, in the order in which it was. `mounts`: the bytes of /proc/self/mountinfo. */
export function mountsIn(mounts: Buffer): MountEntry[] {
  const all: MountEntry[] = [];
  for (const line of mounts.toString('latin1').split('\n')) {
    const fields = line.split(' ');
    const separator = fields.indexOf('-');
    if (separator < 0) continue;
    const [type, source] = fields.slice(separator + 1);
    const path = nameOf(fields[MOUNT_POINT_FIELD]);
    all.push({ device: fields[DEVICE_FIELD], path, type, source: nameOf(source) });
  }
  return all;
}

function nameOf(field: string): string {
  return decodeName(Buffer.from(unescaped(field), 'latin1'));
}

function unescaped(field: string): string {
  return field.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}

/** What lies below the folder at this absolute path, in which the system follows no links, and is mounted. `mounts`: the bytes of /proc/self/mountinfo. */
export function mountsBelow(folder: Buffer, mounts: Buffer): FolderPath[] {
  const start = folder.toString('latin1').replace(/\/*$/, '/');
  const found = new Set<string>();
  for (const line of mounts.toString('latin1').split('\n')) {
    const field = line.split(' ').at(MOUNT_POINT_FIELD);
    const path = field === undefined ? undefined : unescaped(field);
    if (path?.startsWith(start) && path.length > start.length) found.add(path.slice(start.length));
  }
  return [...found].map((path) => path.split('/').map((name) => decodeName(Buffer.from(name, 'latin1'))));
}
