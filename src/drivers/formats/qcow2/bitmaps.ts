// Loads persistent dirty bitmaps (specification: "Bitmaps extension", "Bitmaps").
//
//   header extension -> directory | entry | entry | ...              bitmap-directory.ts
//                                    |
//                                    +-> table of pointers -> bits, one for each granule (or all zeroes, all ones)
//
// The total memory is limited: see bitmap-reader.ts.

import { DirtyBitmap } from '../../../block/bitmap.js';
import { viewOf } from '../../../util/bytes.js';
import { readDirectory, type StoredBitmap } from './bitmap-directory.js';
import { BitmapReader } from './bitmap-reader.js';
import { Autoclear, Extension, type HeaderArea } from './header.js';
import type { ImageFile } from './image-file.js';
import { pointerTarget } from './pointer-codec.js';
import { type GuestOffset, type HostOffset, plus } from './types.js';

/** Reserved bits of a table's entry, high and low word. */
const RESERVED_HIGH = 0xff00_0000;
const RESERVED_LOW = 0x1fe;
const ALL_ONES = 1;
/** Stands for the offset of bits that are all set, and so are not stored. */
const ALL_SET = -1;

/** All stored bitmaps of an image. */
export interface StoredBitmaps {
  list: StoredBitmap[];
  bitmaps: DirtyBitmap[];
  /** Space that they take in the file, for the consistency check: offsets and lengths in bytes. */
  regions: { offset: HostOffset; length: number }[];
}

/**
 * Reads directory and bits. Where a program without support for bitmaps has written to the image, its bitmaps are ignored: `warn` is called with a
 * message then. Rejects with `invalid-image`, `unsupported`, `limit`, `io`.
 */
export async function loadBitmaps(
  file: ImageFile,
  { header, extensions }: HeaderArea,
  warn: (message: string) => void,
): Promise<StoredBitmaps> {
  const found: StoredBitmaps = { list: [], bitmaps: [], regions: [] };
  const extension = extensions.find(({ type }) => type === Extension.bitmaps);
  if (extension === undefined) return found;
  if ((header.autoclearFeatures & Autoclear.bitmaps) === 0n) {
    warn(
      'warning: a program lacking bitmap support modified this file, so all bitmaps are now considered inconsistent',
    );
    return found;
  }
  const reader = new BitmapReader(file, 2 ** header.clusterBits, header.size);
  const { place, list } = await readDirectory(reader, extension.data);
  found.regions.push(place);
  found.list = list;
  for (const stored of list) found.bitmaps.push(await loadBitmap(reader, stored, found));
  return found;
}

/**
 * Loads one bitmap. Where its table or bits are beyond the end of the file, the bitmap is inconsistent; their place is added to the regions, so that the
 * consistency check reports it.
 */
async function loadBitmap(reader: BitmapReader, stored: StoredBitmap, found: StoredBitmaps): Promise<DirtyBitmap> {
  const { name, granularity, auto, tableOffset, tableEntries } = stored;
  const { clusterSize, size } = reader;
  const table = await reader.read(tableOffset, tableEntries * 8);
  if (tableEntries > 0) found.regions.push({ offset: tableOffset, length: tableEntries * 8 });
  const places = table === null ? null : placesOf(reader, name, viewOf(table), found);
  const inconsistent = stored.inUse || places === null;
  const enabled = auto && !inconsistent;
  const bitmap = new DirtyBitmap({ name, size, granularity, enabled, persistent: true, inconsistent });
  if (places === null || inconsistent) {
    for (const offset of places ?? []) if (offset > 0) reader.spend(clusterSize);
    return bitmap;
  }
  const span = clusterSize * 8 * granularity;
  for (const [entry, offset] of places.entries()) {
    if (offset === ALL_SET) setRange(bitmap, (entry * span) as GuestOffset, span);
    else if (offset !== 0)
      setBits(
        bitmap,
        (entry * span) as GuestOffset,
        (await reader.read(offset as HostOffset, clusterSize)) as Uint8Array,
      );
  }
  return bitmap;
}

/** Host offset of the bits of each entry: 0 where none is set, ALL_SET where all are. Null where some are beyond the end of the file. */
function placesOf(reader: BitmapReader, name: string, view: DataView, found: StoredBitmaps): Float64Array | null {
  const { clusterSize } = reader;
  const places = new Float64Array(view.byteLength / 8);
  let inside = true;
  for (let entry = 0; entry < places.length; entry++) {
    const high = view.getUint32(entry * 8);
    const low = view.getUint32(entry * 8 + 4);
    const offset = pointerTarget(view, entry);
    const ones = (low & ALL_ONES) !== 0;
    const isReserved = (high & RESERVED_HIGH) !== 0 || (low & RESERVED_LOW) !== 0;
    if (isReserved || (ones && offset !== 0) || offset % clusterSize !== 0) {
      throw reader.error(
        'invalid-image',
        `Could not read bitmap_table table from image for bitmap '${name}': Invalid argument`,
      );
    }
    places[entry] = ones ? ALL_SET : offset;
    if (offset === 0) continue;
    found.regions.push({ offset, length: clusterSize });
    if (!reader.isInside(offset, clusterSize)) inside = false;
  }
  return inside ? places : null;
}

/** Marks the granules whose bits are set, lowest bit first; the first bit is that of guest `offset`. */
function setBits(bitmap: DirtyBitmap, offset: GuestOffset, bytes: Uint8Array): void {
  const { granularity } = bitmap;
  const bits = bytes.length * 8;
  let from = -1;
  for (let bit = 0; bit < bits; ) {
    const byte = bytes[bit >>> 3];
    if ((bit & 7) === 0 && (byte === 0 || byte === 0xff) && (byte === 0xff) === from >= 0) {
      bit += 8;
      continue;
    }
    const isSet = ((byte >>> (bit & 7)) & 1) !== 0;
    if (isSet && from < 0) from = bit;
    else if (!isSet && from >= 0) {
      setRange(bitmap, plus(offset, from * granularity), (bit - from) * granularity);
      from = -1;
    }
    bit++;
  }
  if (from >= 0) setRange(bitmap, plus(offset, from * granularity), (bits - from) * granularity);
}

/** Sets the range in the bitmap; bits beyond the end of the disk are ignored. */
function setRange(bitmap: DirtyBitmap, offset: GuestOffset, length: number): void {
  const end = Math.min(offset + length, bitmap.size);
  if (offset < end) bitmap.set(offset, end - offset);
}
