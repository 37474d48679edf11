// Loads persistent dirty bitmaps (specification: "Bitmaps extension", "Bitmaps").
//
//   header extension -> directory | entry | entry | ...              bitmap-directory.ts
//                                    |
//                                    +-> table of pointers -> bits, one for each granule (or all zeroes, all ones)     bitmap-table.ts
//
// The total memory is limited: see bitmap-reader.ts. bitmap-store.ts writes what changes.

import { DirtyBitmap } from '../../../block/bitmap.js';
import { markBits, markRange } from '../../../block/bitmap-bits.js';
import { viewOf } from '../../../util/bytes.js';
import { BlockError } from '../../../util/errors.js';
import type { ImageFile } from '../../image-file.js';
import { type DirectoryPlace, readDirectory, type StoredBitmap } from './bitmap-directory.js';
import { type BitmapHome, isConsistent, KeptBitmap } from './bitmap-kept.js';
import { BitmapReader } from './bitmap-reader.js';
import { ALL_SET, decodePlaces, offsetsIn } from './bitmap-table.js';
import { Autoclear, Extension, type HeaderArea } from './header.js';
import type { HostOffset } from './types.js';

/** All stored bitmaps of an image. */
export interface LoadedBitmaps {
  /** Null: there are none. */
  directory: DirectoryPlace | null;
  kept: KeptBitmap[];
}

/**
 * Reads directory and bits. Where a program without support for bitmaps has written to the image, its bitmaps are ignored: `warn` is called with a
 * message then. Rejects with `invalid-image`, `limit`, `io`.
 */
export async function loadBitmaps(
  file: ImageFile,
  { header, extensions }: HeaderArea,
  home: BitmapHome,
  warn: (message: string) => void,
): Promise<LoadedBitmaps> {
  return load(file, { header, extensions }, home, warn);
}

/** What is left of damaged bitmaps. */
export interface SalvagedBitmaps extends LoadedBitmaps {
  /** Why others cannot be read: they are to be given up. */
  lost: BlockError[];
}

/** As `loadBitmaps`, of an image that is to be repaired: what cannot be read, or lies behind the end of the file, is left out. Rejects with `io`. */
export async function salvageBitmaps(
  file: ImageFile,
  area: HeaderArea,
  home: BitmapHome,
  warn: (message: string) => void,
): Promise<SalvagedBitmaps> {
  const lost: BlockError[] = [];
  const note = (error: unknown): void => {
    if (!(error instanceof BlockError) || error.code === 'io') throw error;
    lost.push(error);
  };
  try {
    return { ...(await load(file, area, home, warn, note)), lost };
  } catch (error) {
    note(error);
    return { directory: null, kept: [], lost };
  }
}

async function load(
  file: ImageFile,
  { header, extensions }: Pick<HeaderArea, 'header' | 'extensions'>,
  home: BitmapHome,
  warn: (message: string) => void,
  lost?: (error: unknown) => void,
): Promise<LoadedBitmaps> {
  const extension = extensions.find(({ type }) => type === Extension.bitmaps);
  if (extension === undefined) return { directory: null, kept: [] };
  if ((header.autoclearFeatures & Autoclear.bitmaps) === 0n) {
    warn(
      'warning: a program lacking bitmap support modified this file, so all bitmaps are now considered inconsistent',
    );
    return { directory: null, kept: [] };
  }
  const reader = new BitmapReader(file, home.clusterSize, header.size);
  const { place, list } = await readDirectory(reader, extension.data, lost);
  const kept: KeptBitmap[] = [];
  for (const stored of list) {
    try {
      kept.push(await loadBitmap(reader, home, stored, lost !== undefined));
    } catch (error) {
      if (lost === undefined) throw error;
      lost(error);
    }
  }
  return { directory: place, kept };
}

/** Loads one bitmap. Where its table or bits are beyond the end of the file, the bitmap is inconsistent; with `whole`, that is an error. */
async function loadBitmap(
  reader: BitmapReader,
  home: BitmapHome,
  stored: StoredBitmap,
  whole: boolean,
): Promise<KeptBitmap> {
  const { name, granularity, auto, tableOffset, tableEntries } = stored;
  const { clusterSize, size } = reader;
  const table = await reader.read(tableOffset, tableEntries * 8);
  const places = table === null ? new Float64Array(0) : decodePlaces(viewOf(table), clusterSize);
  if (places === null) {
    throw reader.error(
      'invalid-image',
      `Could not read bitmap_table table from image for bitmap '${name}': Invalid argument`,
    );
  }
  const offsets = offsetsIn(places);
  const readable = table !== null && offsets.every((offset) => reader.isInside(offset, clusterSize));
  if (whole && !readable) throw reader.error('invalid-image', `Bitmap '${name}' is outside of the file`);
  const inconsistent = !isConsistent(stored, readable);
  const enabled = auto && !inconsistent;
  const bitmap = new DirtyBitmap({ name, size, granularity, enabled, persistent: true, inconsistent });
  if (inconsistent) for (const _ of offsets) reader.spend(clusterSize);
  else await loadBits(reader, bitmap, places);
  const kept = new KeptBitmap(home, bitmap, stored, places);
  bitmap.storage = kept;
  return kept;
}

async function loadBits(reader: BitmapReader, bitmap: DirtyBitmap, places: Float64Array): Promise<void> {
  const { clusterSize } = reader;
  const span = clusterSize * 8 * bitmap.granularity;
  for (const [entry, place] of places.entries()) {
    const at = entry * span;
    if (place === ALL_SET) markRange(bitmap, at, span);
    else if (place > 0) markBits(bitmap, at, (await reader.read(place as HostOffset, clusterSize)) as Uint8Array);
  }
}
