// The geometry that a footer has: cylinders, heads and sectors per track, by the rules of the specification's appendix ("CHS Calculation"). A disk that is made for Virtual PC
// has as many sectors as a geometry can say.

import { SECTOR_BYTES } from '../../../util/numbers.js';

export interface Geometry {
  cylinders: number;
  heads: number;
  sectorsPerTrack: number;
}

/** The largest geometry: it says nothing of the size, which is the footer's current size then. */
export const MAX_GEOMETRY: Geometry = { cylinders: 65535, heads: 16, sectorsPerTrack: 255 };
/** From so many sectors on, tracks are as long as they can be. */
const LARGE_SECTORS = 65535 * 16 * 63;
const MAX_CYLINDERS = 1024;

export function sectorsOf({ cylinders, heads, sectorsPerTrack }: Geometry): number {
  return cylinders * heads * sectorsPerTrack;
}

export function isMaxGeometry(geometry: Geometry): boolean {
  return sectorsOf(geometry) === sectorsOf(MAX_GEOMETRY);
}

/** The geometry for a disk of so many sectors, which it may not reach by a part of a cylinder. */
function geometryFor(wanted: number): Geometry {
  const sectors = Math.min(wanted, sectorsOf(MAX_GEOMETRY));
  const of = (heads: number, sectorsPerTrack: number): Geometry => ({
    cylinders: Math.floor(Math.floor(sectors / sectorsPerTrack) / heads),
    heads,
    sectorsPerTrack,
  });
  if (sectors >= LARGE_SECTORS) return of(16, 255);
  const tracks = Math.floor(sectors / 17);
  const heads = Math.max(4, Math.ceil(tracks / MAX_CYLINDERS));
  if (heads <= 16 && tracks < heads * MAX_CYLINDERS) return of(heads, 17);
  if (Math.floor(sectors / 31) < 16 * MAX_CYLINDERS) return of(16, 31);
  return of(16, 63);
}

/** The smallest geometry that has room for `size` bytes, and the bytes that it has; where that is the largest one, the disk keeps its size, in whole sectors. */
export function roundToGeometry(size: number): { geometry: Geometry; size: number } {
  const sectors = Math.ceil(size / SECTOR_BYTES);
  if (sectors === 0) return { geometry: { cylinders: 0, heads: 0, sectorsPerTrack: 0 }, size: 0 };
  let geometry = geometryFor(sectors);
  for (let more = 1; sectors > sectorsOf(geometry) && !isMaxGeometry(geometry); more++) {
    geometry = geometryFor(sectors + more);
  }
  return { geometry, size: SECTOR_BYTES * (isMaxGeometry(geometry) ? sectors : sectorsOf(geometry)) };
}
