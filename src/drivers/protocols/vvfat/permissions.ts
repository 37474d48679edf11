// The permissions of what is made in the folder: first its owner's alone, and then what they are to be.

import type { FolderPath, HostFolder } from '../../../host/host.js';

export const PRIVATE_FILE = 0o600;
export const PRIVATE_FOLDER = 0o700;
const ACCESS_BITS = 0o777;

/**
 * Sets the permission bits of a file or a folder that has been made private, as `first` says; null: those of any new file. Where it is not, the file system has no
 * permissions that can be set (FAT, some network file systems): all files there are as it was mounted.
 */
export async function setPermissions(
  folder: HostFolder,
  path: FolderPath,
  first: number,
  permissions: number | null,
): Promise<void> {
  const made = await folder.info(path);
  if ((made.permissions & ACCESS_BITS) === first) await folder.setPermissions(path, made.id, permissions);
}
