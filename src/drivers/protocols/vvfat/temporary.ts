// Files in the folder that are to get another name, or none.

import type { FolderPath, HostFile, HostFolder } from '../../../host/host.js';
import { BlockError } from '../../../util/errors.js';

const ATTEMPTS = 100;

/** A name in the folder at `parent` that no file has. */
export async function createTemporary(
  folder: HostFolder,
  parent: FolderPath,
  random: () => number,
  permissions: number | null,
): Promise<{ path: FolderPath; file: HostFile }> {
  for (let attempt = 1; ; attempt++) {
    const path = [...parent, temporaryName(random)];
    try {
      return { path, file: await folder.createFile(path, permissions) };
    } catch (error) {
      if (!(error instanceof BlockError) || error.code !== 'exists' || attempt === ATTEMPTS) throw error;
    }
  }
}

/** 64 random bits: nobody else has chosen it. */
export function temporaryName(random: () => number): string {
  const part = () => random().toString(16).padStart(8, '0');
  return `.diskwright-${part()}${part()}`;
}
