// Where in a range an image is broken: an error of a read says which file is, and the range may be many clusters.

import { toBlockError } from '../util/errors.js';
import type { Child } from './child.js';
import type { Extent } from './types.js';

/** Of an image without clusters. */
const STEP_BYTES = 64 << 10;

/**
 * A read of `extents` failed with `error`: offset of the first cluster of them that cannot be read. Null: that is not known, since the image is not what is broken. A
 * medium that failed is not asked again. `buffer`, of a cluster at least or of all extents, is overwritten. It never rejects.
 */
export async function firstUnreadable(
  source: Child,
  extents: readonly Extent[],
  buffer: Uint8Array,
  error: unknown,
): Promise<number | null> {
  if (!isOfImage(error)) return null;
  const step = source.node.clusterBytes || STEP_BYTES;
  for (const { offset, length } of extents) {
    for (let at = offset; at < offset + length; ) {
      const end = Math.min(at - (at % step) + step, offset + length, at + buffer.length);
      try {
        await source.read(at, buffer.subarray(0, end - at));
      } catch (found) {
        return isOfImage(found) ? at : null;
      }
      at = end;
    }
  }
  return null;
}

function isOfImage(error: unknown): boolean {
  const { code } = toBlockError(error);
  return code === 'corrupt-image' || code === 'invalid-image';
}
