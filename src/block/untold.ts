// Block status that cannot be read: where that begins, to the sector.

import { toBlockError } from '../util/errors.js';
import { roundUp, SECTOR_BYTES } from '../util/numbers.js';
import { chainStatus } from './chain.js';
import type { BlockNode } from './node/node.js';

/** Of a range whose status failed: the first byte of it, in steps of a sector, of which the status cannot be read. */
export async function firstUntold(
  top: BlockNode,
  base: BlockNode | null,
  offset: number,
  length: number,
): Promise<number> {
  const end = offset + length;
  let at = offset;
  for (let part = length; at < end && part > SECTOR_BYTES; ) {
    const half = roundUp(part / 2, SECTOR_BYTES);
    try {
      const told = await chainStatus(top, base, at, half);
      at += told.length;
      part = Math.min(part, end - at);
    } catch (error) {
      if (toBlockError(error).code === 'internal') throw error;
      // Two sectors, and the first fails.
      if (half === part) break;
      part = half;
    }
  }
  return at < end ? at : offset;
}
