// The paths of Windows by which images name others, as paths here.

import { protocolOf } from '../block/filename.js';

export function upToNul(text: string): string {
  const end = text.indexOf('\0');
  return end < 0 ? text : text.slice(0, end);
}

/** Null where it names nothing. Drives, volumes and servers of Windows are not here: what lies there is looked for beside the image. */
export function fromWindows(text: string): string | null {
  const path = upToNul(text).replaceAll('\\', '/');
  const isElsewhere = /^[A-Za-z]:/.test(path) || path.startsWith('//');
  return asPath(isElsewhere ? path.slice(path.lastIndexOf('/') + 1).replace(/^[A-Za-z]:/, '') : path);
}

/** It names a file, and nothing else. */
export function asPath(path: string): string | null {
  const name = upToNul(path);
  if (name === '') return null;
  return protocolOf(name) === null ? name : `./${name}`;
}
