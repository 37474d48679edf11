// Repairs the directory of persistent bitmaps: those that cannot be read are given up. The new directory lies in unused space:
//
//   header extension --> | old directory |    ...    | new directory |   flush, then the extension names the new one, flush
//
// Where none is left, or the extension itself is damaged, the header says that its bitmaps are not valid any more. What was given up is free once the
// refcounts are corrected.

import { type DirectoryPlace, encodeDirectory, encodeExtension, type StoredBitmap } from './bitmap-directory.js';
import type { CheckState, Region } from './check-state.js';
import { patchBitmaps } from './header-patch.js';
import type { RepairSpace } from './repair-space.js';
import type { HostOffset } from './types.js';

/** The bitmaps that are left. */
export interface BitmapsToMend {
  list: readonly StoredBitmap[];
  /** What they take in the file, without the directory. */
  regions: readonly Region[];
}

/** Writes the directory anew, and changes the layout. Rejects with `io`, `no-space`. */
export async function mendBitmaps(
  { file, layout, clusterBytes }: CheckState,
  space: RepairSpace,
  { list, regions }: BitmapsToMend,
): Promise<void> {
  let place: DirectoryPlace | null = null;
  if (list.length > 0) {
    const { bytes } = encodeDirectory(list);
    const offset = ((await space.take(Math.ceil(bytes.length / clusterBytes))) * clusterBytes) as HostOffset;
    await file.write(offset, bytes);
    await space.settle();
    place = { offset, length: bytes.length };
  }
  const named = await patchBitmaps(file, clusterBytes, place && encodeExtension(list.length, place));
  layout.bitmapDirectory = named ? place : null;
  layout.bitmapRegions = place !== null && named ? [...regions, place] : [];
}
