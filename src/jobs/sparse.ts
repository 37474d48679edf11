// Zeroes that are not written as data by a copy.

import { SECTOR_BYTES } from '../util/numbers.js';

/** Runs of so many zero bytes are found, where nothing else is asked for (qemu-img `-S`). */
export const DEFAULT_SPARSE_BYTES = 4096;

/**
 * The step in which a copy looks for zeroes, of `sparseSize`, the bytes of a run that is not written as data: a power of two, a sector at least. 0 where all is written out,
 * holes too.
 */
export function sparseStep(sparseSize = DEFAULT_SPARSE_BYTES): number {
  return sparseSize === 0 ? 0 : 2 ** Math.floor(Math.log2(Math.max(sparseSize, SECTOR_BYTES)));
}
