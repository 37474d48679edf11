// The limits of a folder that is shown as a disk, and of what a machine leaves on it.

import { ENTRY_BYTES } from './geometry.js';

/** Bytes of one directory, by the specification of FAT. */
export const MAX_DIRECTORY_BYTES = 0x10000 * ENTRY_BYTES;
/** Bytes of all directories: they are held in memory. */
export const MAX_DIRECTORIES_BYTES = 16 << 20;
/** Folders that lie in each other. */
export const MAX_DEPTH = 128;
/** Bytes of a name: more, no file system of Linux takes. */
export const MAX_NAME_BYTES = 255;
