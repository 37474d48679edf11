// An image of known content, for tests of one node.

import { makeBench, pattern } from '../../drivers/support.js';
import { openUsed } from '../support.js';

export const SIZE = 8192;
export const ZEROES = new Uint8Array(SIZE);

/** A raw image of `SIZE` patterned bytes. */
export async function patterned(options: Parameters<typeof openUsed>[3] = {}) {
  const bench = makeBench();
  return { ...bench, node: await openUsed(bench, '/a', pattern(SIZE), options) };
}
