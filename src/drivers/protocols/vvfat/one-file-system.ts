// Files are renamed within the folder, which the system does within one mounted file system only.

import { pathBelow } from '../../../host/folder.js';
import type { FolderPath, HostFolder } from '../../../host/host.js';
import { BlockError } from '../../../util/errors.js';
import type { Scan } from './scan.js';

/** Throws `unsupported`. */
export function refuseOtherFileSystems(folder: HostFolder, { root, folders }: Scan): void {
  const device = (id: string) => id.slice(0, id.indexOf(':'));
  for (const { path, entry } of folders.flatMap((one) => [one, ...one.children])) {
    if (device(entry.id) === device(root.entry.id)) continue;
    throw refusal(folder, path, 'lies in another file system than its folder', 'open');
  }
}

/** A part of the same file system is another one to rename(2), too, and what is mounted cannot be replaced. Rejects with `unsupported`. */
export async function refuseMounts(folder: HostFolder, operation: string): Promise<void> {
  for (const path of await folder.mounts()) {
    // Where something is mounted over it, it is not there.
    if (await isThere(folder, path)) throw refusal(folder, path, 'is mounted from elsewhere', operation);
  }
}

async function isThere(folder: HostFolder, path: FolderPath): Promise<boolean> {
  try {
    await folder.info(path);
    return true;
  } catch (error) {
    if (error instanceof BlockError && error.code === 'not-found') return false;
    throw error;
  }
}

function refusal(folder: HostFolder, path: FolderPath, why: string, operation: string): BlockError {
  const where = pathBelow(folder.path, path);
  return new BlockError('unsupported', `'${where}' ${why}, which 'rw' cannot take`, { path: where, operation });
}
