// The limits of a folder that is shown as a disk, and of what a machine leaves on it.

import { nameLength } from '../../../util/name-bytes.js';
import { ENTRY_BYTES } from './geometry.js';

/** Entries of one directory, by the specification of FAT. */
export const MAX_DIRECTORY_ENTRIES = 0x10000;
export const MAX_DIRECTORY_BYTES = MAX_DIRECTORY_ENTRIES * ENTRY_BYTES;
/** Bytes of all directories: they are held in memory. */
export const MAX_DIRECTORIES_BYTES = 16 << 20;
/** Folders that lie in each other. */
export const MAX_DEPTH = 128;
/** Bytes of a name: more, no file system of Linux takes. */
export const MAX_NAME_BYTES = 255;
/** Files and folders: with long names, the directories have room for no more. */
export const MAX_FILES = 1 << 18;
/** Bytes of the paths of all files and folders, which are held in memory: the names, and a word for each of them. */
export const MAX_PATHS_BYTES = 32 << 20;
const WORD_BYTES = 8;

/** Counts files and the bytes of their paths. Few long names of folders make many long paths. */
export class PathCount {
  #files = 0;
  #bytes = 0;

  /** Null, or what there is too much of: a sentence. */
  add(path: readonly string[]): string | null {
    this.#files++;
    for (const name of path) this.#bytes += nameLength(name) + WORD_BYTES;
    if (this.#files > MAX_FILES) return `there are more than ${MAX_FILES} files and folders`;
    if (this.#bytes > MAX_PATHS_BYTES) return `the paths of its files take more than ${MAX_PATHS_BYTES} bytes`;
    return null;
  }
}
