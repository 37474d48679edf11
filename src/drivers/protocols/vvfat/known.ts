// What the folder is known to hold: as it was when the disk was opened, and then as it was left by the last flush.

import type { FolderEntry, FolderPath } from '../../../host/host.js';
import type { ScannedFile } from './scan.js';
import type { Run } from './table.js';

/** A file that the folder holds, and where it lies on the disk. */
export interface KnownFile {
  path: FolderPath;
  entry: FolderEntry;
  runs: readonly Run[];
  /** What the disk reads where the machine has not written: this file, as it was when the disk was opened. Null: all of that is in the scratch file. */
  base: ScannedFile | null;
}

export interface KnownFolder {
  path: FolderPath;
  entry: FolderEntry;
  /** Its first one. */
  cluster: number;
}

export interface Known {
  /** By `keyOf` their paths. */
  files: Map<string, KnownFile>;
  folders: Map<string, KnownFolder>;
}

export function keyOf(path: FolderPath): string {
  return path.join('/');
}
