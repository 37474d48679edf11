// Extents and the map of a zero test: a byte for each step of what lies back to back, 1 where the step holds zeroes only.

import type { Extent } from '../block/types.js';

/**
 * Parts `extents`, whose data lies in `buffer`, into those with data and those that are zero by `map`; the data is moved
 * together at the begin of `buffer`.
 */
export function splitZeroes(
  extents: readonly Extent[],
  buffer: Uint8Array,
  map: Uint8Array,
  step: number,
): { data: Extent[]; zero: Extent[]; bytes: number } {
  const data: Extent[] = [];
  const zero: Extent[] = [];
  let bytes = 0;
  forEachRun(extents, map, step, (run, at, isZero) => {
    (isZero ? zero : data).push(run);
    if (isZero) return;
    if (bytes !== at) buffer.copyWithin(bytes, at, at + run.length);
    bytes += run.length;
  });
  return { data, zero, bytes };
}

/** The parts of `extents` that are zero by `map`. */
export function zeroExtents(extents: readonly Extent[], map: Uint8Array, step: number): Extent[] {
  const zero: Extent[] = [];
  forEachRun(extents, map, step, (run, _at, isZero) => {
    if (isZero) zero.push(run);
  });
  return zero;
}

/** Calls `visit` for the longest parts of `extents`, which lie back to back, that are alike by `map`, an entry for each `step`; `at`: from the first byte of all. */
function forEachRun(
  extents: readonly Extent[],
  map: Uint8Array,
  step: number,
  visit: (run: Extent, at: number, isZero: boolean) => void,
): void {
  let at = 0;
  for (const extent of extents) {
    const end = at + extent.length;
    while (at < end) {
      const kind = map[Math.floor(at / step)];
      let stop = at;
      while (stop < end && map[Math.floor(stop / step)] === kind) stop += step - (stop % step);
      stop = Math.min(stop, end);
      visit({ offset: extent.offset + extent.length - (end - at), length: stop - at }, at, kind === 1);
      at = stop;
    }
  }
}
