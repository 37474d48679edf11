// How large an image may be: sizes are numbers, and whole ones end at 2^53 - 1.

import { BlockError } from '../util/errors.js';
import { MAX_BYTES } from '../util/size.js';

/**
 * Throws `limit` with a sentence that names the limit where `size`, the bytes of the image `path`, is beyond it, and `invalid-argument` where it
 * is no size at all.
 */
export function checkImageSize(size: number | bigint, path: string, operation: string): void {
  if (size > MAX_BYTES) {
    throw BlockError.at(path, 'limit', `Image sizes beyond ${MAX_BYTES} bytes (2^53 - 1) are not supported`, {
      operation,
    });
  }
  if (size >= 0 && (typeof size === 'bigint' || Number.isInteger(size))) return;
  throw BlockError.at(path, 'invalid-argument', `${size} is not a size in bytes`, { operation });
}
