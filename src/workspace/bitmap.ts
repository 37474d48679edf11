// Dirty bitmaps of an open image, by name.

import { DirtyBitmap } from '../block/bitmap.js';
import type { BlockNode } from '../block/node/node.js';
import { BlockError } from '../util/errors.js';

/** Adds a bitmap to `node`, which records writes from now on; `granularity` is in bytes. Throws `exists`, `invalid-argument`. */
export function addBitmap({ bitmaps, length }: BlockNode, name: string, granularity?: number): DirtyBitmap {
  if (bitmaps.has(name)) throw new BlockError('exists', `Bitmap already exists: ${name}`);
  const bitmap = new DirtyBitmap({ name, size: length, granularity });
  bitmaps.set(name, bitmap);
  return bitmap;
}

/** Removes a bitmap. Throws `not-found`, and `busy` where a job or an export uses it. */
export function removeBitmap({ bitmaps }: BlockNode, name: string): void {
  const bitmap = bitmaps.get(name);
  if (bitmap === undefined) throw new BlockError('not-found', `Dirty bitmap '${name}' not found`);
  if (bitmap.busy) throw new BlockError('busy', `Bitmap '${name}' is currently in use by another operation`);
  bitmaps.delete(name);
}
