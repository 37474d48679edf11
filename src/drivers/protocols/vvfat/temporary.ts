// The names of files that Diskwright makes in the folder, and that are to get another name, or none.
//
//   .diskwright-0123456789abcdef        new content, or a file that steps aside
//   .diskwright-0123456789abcdef.img    the whole disk, where it could not be brought to the folder: see kept-image.ts

import type { FolderPath, HostFile, HostFolder } from '../../../host/host.js';
import { BlockError } from '../../../util/errors.js';
import { printable } from '../../../util/foreign-text.js';

const ATTEMPTS = 100;
const IMAGE = /^\.diskwright-[0-9a-f]{16}\.img$/;
const CONTENT = /^\.diskwright-[0-9a-f]{16}$/;
/** Names in one warning. */
const MOST_NAMED = 10;

export type TemporarySuffix = '' | '.img';

/** A new file in the folder at `parent`, by a name that no file has. Its owner alone may read and write it. */
export async function createTemporary(
  folder: HostFolder,
  parent: FolderPath,
  random: () => number,
  suffix: TemporarySuffix = '',
): Promise<{ path: FolderPath; file: HostFile }> {
  for (let attempt = 1; ; attempt++) {
    const path = [...parent, temporaryName(random) + suffix];
    try {
      return { path, file: await folder.createFile(path) };
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

/** Whether the file holds a disk that could not be brought to its folder. */
export function isKeptImage(name: string): boolean {
  return IMAGE.test(name);
}

/** Whether the file holds new content, or stepped aside, while a folder was brought up to date: once that is done there is none. */
export function isLeftContent(name: string): boolean {
  return CONTENT.test(name);
}

/** A line that names files and folders which `isLeftContent` knows; null where there are none. */
export function warningOfLeft(left: readonly string[]): string | null {
  if (left.length === 0) return null;
  const named = left.slice(0, MOST_NAMED).map((path) => `'${path}'`);
  if (left.length > MOST_NAMED) named.push(`${left.length - MOST_NAMED} more`);
  const text = `a disk of this folder has ended before it was up to date, and may have left files without their names: ${named.join(', ')}`;
  return `warning: ${printable(text)}`;
}
