// Which bitmaps an image can store, checked before one is added.

import type { DirtyBitmap } from '../../../block/bitmap.js';
import { BlockError } from '../../../util/errors.js';
import { directoryBytes, MAX_BITMAPS, MAX_DIRECTORY_BYTES } from './bitmap-directory.js';
import { checkExtensionRoom } from './bitmap-extension.js';
import type { Qcow2Image } from './image.js';

/** QEMU's limit of the bits of one bitmap. */
const MAX_BITS_BYTES = 512 << 20;

/** Whether the bits of a bitmap of this granularity can be stored for a disk of `size` bytes. */
export function isStorable(size: number, granularity: number): boolean {
  return Math.ceil(size / granularity / 8) <= MAX_BITS_BYTES;
}

/** Throws `unsupported` for a version 2 image, `limit` where the bitmap or the directory would be too large, or the header has no room. */
export function checkNewBitmap(
  image: Qcow2Image,
  bitmaps: ReadonlyMap<string, DirtyBitmap>,
  name: string,
  granularity: number,
): void {
  const refuse = (code: 'unsupported' | 'limit', message: string): never => {
    throw BlockError.at(image.file.path, code, message, { operation: 'store bitmaps' });
  };
  if (image.geometry.version === 2) refuse('unsupported', 'Cannot store dirty bitmaps in qcow2 v2 files');
  const names = [...bitmaps.values()].filter(({ persistent }) => persistent).map(({ name = '' }) => name);
  if (names.length >= MAX_BITMAPS) refuse('limit', 'Maximum number of persistent bitmaps is already reached');
  if (!isStorable(image.length(), granularity)) {
    refuse('limit', 'Too much space will be occupied by the bitmap. Use larger granularity');
  }
  // The extra data of an entry is a later version's: nothing is stored with some. What there is was in a directory of this size.
  const list = [...names, name].map((name) => ({ name, extra: new Uint8Array(0) }));
  if (directoryBytes(list) > MAX_DIRECTORY_BYTES) {
    refuse('limit', 'Not enough space in the bitmap directory');
  }
  checkExtensionRoom(image);
}
