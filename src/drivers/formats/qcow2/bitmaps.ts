// Persistent dirty bitmaps, for reading (specification: "Bitmaps extension", "Bitmaps").
//
//   header extension -> directory | entry | entry | ...
//                                    |
//                                    +-> table of pointers -> bits, one for each granule (or all zeroes, all ones)
//
// What tables and bits take together is bounded, also by the size of the file: whoever lets them overlap gets no more out of it.

import { checkGranularity, DirtyBitmap } from '../../../block/bitmap.js';
import { reportUnforeseen } from '../../../util/best-effort.js';
import { viewBe64, viewOf } from '../../../util/bytes.js';
import { BlockError } from '../../../util/errors.js';
import { decodeName } from '../../../util/name-bytes.js';
import { Autoclear, Extension, type HeaderArea } from './header.js';
import type { ImageFile } from './image-file.js';
import { roundUp } from './types.js';

const MAX_BITMAPS = 65535;
const MAX_NAME_BYTES = 1023;
const EXTENSION_BYTES = 24;
const ENTRY_BYTES = 24;
/** QEMU's limit, which is a little less than as many of the longest entries take. */
const MAX_DIRECTORY_BYTES = MAX_BITMAPS * 1024;
/** The same as of an L1 table. */
const MAX_TABLE_BYTES = 32 << 20;
/** Directory, tables and bits of all bitmaps of an image: a disk of 64 TiB has 128 MiB of bits at 64 KiB each. */
const MAX_TOTAL_BYTES = 1 << 30;

const IN_USE = 1;
const AUTO = 2;
/** Bit 2, "extra data compatible", counts too: there is no bitmap with extra data that we read. */
const RESERVED_FLAGS = 0xffff_fffc;
const DIRTY_TRACKING = 1;
/** Reserved bits of a table's entry, high and low word. */
const RESERVED_HIGH = 0xff00_0000;
const RESERVED_LOW = 0x1fe;
const ALL_ONES = 1;
/** The place of bits that are all set and lie nowhere. */
const ALL_SET = -1;

/** What the directory says of one bitmap. */
export interface StoredBitmap {
  name: string;
  /** Bytes. */
  granularity: number;
  /** Was not stored properly: its bits mean nothing. */
  inUse: boolean;
  /** Records changes. */
  auto: boolean;
  tableOffset: number;
  tableEntries: number;
}

/** All that one image has. */
export interface StoredBitmaps {
  list: StoredBitmap[];
  bitmaps: DirtyBitmap[];
  /** What they take of the file, for the consistency check: offsets and lengths in bytes. */
  regions: { offset: number; length: number }[];
}

/**
 * Reads directory and bits. Images that a program without bitmaps has written to since have none any more: `warn` says so. Rejects with
 * `invalid-image`, `unsupported`, `limit`, `io`.
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
  const reader = new Reader(file, 2 ** header.clusterBits, header.size);
  const { count, bytes } = await reader.directory(extension.data, found);
  found.list = reader.entries(bytes, count);
  for (const stored of found.list) found.bitmaps.push(await reader.bitmap(stored, found));
  return found;
}

class Reader {
  readonly #file: ImageFile;
  readonly #clusterSize: number;
  /** Virtual size, bytes. */
  readonly #size: number;
  /** Bytes of tables and bits that there may still be. */
  #budget: number;

  constructor(file: ImageFile, clusterSize: number, size: number) {
    this.#file = file;
    this.#clusterSize = clusterSize;
    this.#size = size;
    this.#budget = roundUp(Math.min(file.length, MAX_TOTAL_BYTES), clusterSize);
  }

  async directory(extension: Uint8Array, found: StoredBitmaps): Promise<{ count: number; bytes: Uint8Array }> {
    if (extension.length !== EXTENSION_BYTES) throw this.#invalid('bitmaps_ext: Invalid extension length');
    const view = viewOf(extension);
    const count = view.getUint32(0);
    const length = viewBe64(view, 8);
    const offset = viewBe64(view, 16);
    if (view.getUint32(4) !== 0) throw this.#invalid('bitmaps_ext: Reserved field is not zero');
    if (count === 0) throw this.#invalid('found bitmaps extension with zero bitmaps');
    if (count > MAX_BITMAPS) {
      throw this.#invalid(
        `bitmaps_ext: Image has ${count} bitmaps, exceeding the QEMU supported maximum of ${MAX_BITMAPS}`,
      );
    }
    if (offset === 0 || offset % this.#clusterSize !== 0) {
      throw this.#invalid('bitmaps_ext: invalid bitmap directory offset');
    }
    if (length > MAX_DIRECTORY_BYTES) {
      throw this.#invalid(
        `bitmaps_ext: bitmap directory size (${length}) exceeds the maximum supported size (${MAX_DIRECTORY_BYTES})`,
      );
    }
    if (length === 0) throw this.#invalid('Requested bitmap directory size is zero');
    const bytes = await this.#read(offset, length);
    if (bytes === null) throw this.#invalid('Bitmap directory is outside of the file');
    found.regions.push({ offset, length });
    return { count, bytes };
  }

  entries(bytes: Uint8Array, count: number): StoredBitmap[] {
    const view = viewOf(bytes);
    const list: StoredBitmap[] = [];
    const names = new Set<string>();
    let at = 0;
    for (; at < bytes.length; ) {
      if (at + ENTRY_BYTES > bytes.length) throw this.#invalid('Broken bitmap directory');
      if (list.length === count) throw this.#invalid('More bitmaps found than specified in header extension');
      const nameBytes = view.getUint16(at + 18);
      const extraBytes = view.getUint32(at + 20);
      const nameAt = at + ENTRY_BYTES + extraBytes;
      const end = roundUp(nameAt + nameBytes, 8);
      if (extraBytes !== 0) {
        throw BlockError.at(this.#file.path, 'unsupported', 'Bitmap extra data is not supported', {
          operation: 'open',
        });
      }
      if (end > bytes.length) throw this.#invalid('Broken bitmap directory');
      const name = decodeName(bytes.subarray(nameAt, nameAt + nameBytes));
      const stored = this.#entry(view, at, name, nameBytes);
      if (names.has(name)) throw this.#invalid(`Bitmap already exists: ${name}`);
      names.add(name);
      list.push(stored);
      at = end;
    }
    if (list.length < count) throw this.#invalid('Less bitmaps found than specified in header extension');
    return list;
  }

  #entry(view: DataView, at: number, name: string, nameBytes: number): StoredBitmap {
    const flags = view.getUint32(at + 12);
    const granularity = 2 ** view.getUint8(at + 17);
    const stored: StoredBitmap = {
      name,
      granularity,
      inUse: (flags & IN_USE) !== 0,
      auto: (flags & AUTO) !== 0,
      tableOffset: viewBe64(view, at),
      tableEntries: view.getUint32(at + 8),
    };
    const { tableOffset, tableEntries } = stored;
    const bits = Math.ceil(this.#size / granularity);
    const wanted = Math.ceil(bits / 8 / this.#clusterSize);
    try {
      checkGranularity(granularity);
    } catch (error) {
      reportUnforeseen('bitmap directory', error);
      throw this.#unfit(name);
    }
    const fits =
      view.getUint8(at + 16) === DIRTY_TRACKING &&
      (flags & RESERVED_FLAGS) === 0 &&
      nameBytes >= 1 &&
      nameBytes <= MAX_NAME_BYTES &&
      tableOffset % this.#clusterSize === 0 &&
      (tableOffset !== 0 || tableEntries === 0) &&
      tableEntries * 8 <= MAX_TABLE_BYTES;
    if (!fits) throw this.#unfit(name);
    // The size of one that was not stored may be outdated.
    if (!stored.inUse && tableEntries !== wanted) {
      throw this.#invalid(`Could not read bitmap '${name}' from image: Invalid argument`);
    }
    return stored;
  }

  /**
   * One whose table or bits are said to lie behind the end of the file is there, but means nothing. The regions say where it is, so that the
   * consistency check finds that.
   */
  async bitmap(stored: StoredBitmap, found: StoredBitmaps): Promise<DirtyBitmap> {
    const { name, granularity, auto, tableOffset, tableEntries } = stored;
    const table = await this.#read(tableOffset, tableEntries * 8);
    if (tableEntries > 0) found.regions.push({ offset: tableOffset, length: tableEntries * 8 });
    const places = table === null ? null : this.#places(name, viewOf(table), found);
    const inUse = stored.inUse || places === null;
    const bitmap = new DirtyBitmap({
      name,
      size: this.#size,
      granularity,
      enabled: auto && !inUse,
      persistent: true,
      inconsistent: inUse,
    });
    const clusterSize = this.#clusterSize;
    if (places === null || inUse) {
      for (const offset of places ?? []) if (offset > 0) this.#spend(clusterSize);
      return bitmap;
    }
    const span = clusterSize * 8 * granularity;
    for (const [entry, offset] of places.entries()) {
      if (offset === ALL_SET) setRange(bitmap, entry * span, span);
      else if (offset !== 0) setBits(bitmap, entry * span, (await this.#read(offset, clusterSize)) as Uint8Array);
    }
    return bitmap;
  }

  /** Where the bits of each entry lie: 0 for none, ALL_SET for all; null where some lie behind the end of the file. */
  #places(name: string, view: DataView, found: StoredBitmaps): Float64Array | null {
    const clusterSize = this.#clusterSize;
    const places = new Float64Array(view.byteLength / 8);
    let inside = true;
    for (let entry = 0; entry < places.length; entry++) {
      const high = view.getUint32(entry * 8);
      const low = view.getUint32(entry * 8 + 4);
      const offset = (high & ~RESERVED_HIGH) * 0x1_0000_0000 + ((low & 0xffff_fe00) >>> 0);
      const ones = (low & ALL_ONES) !== 0;
      if ((high & RESERVED_HIGH) !== 0 || (low & RESERVED_LOW) !== 0 || (ones && offset !== 0)) {
        throw this.#unreadable(name);
      }
      if (offset % clusterSize !== 0) throw this.#unreadable(name);
      places[entry] = ones ? ALL_SET : offset;
      if (offset === 0) continue;
      found.regions.push({ offset, length: clusterSize });
      if (!this.#isInside(offset, clusterSize)) inside = false;
    }
    return inside ? places : null;
  }

  /** Bytes of the file, null where they lie behind its end. Its last cluster may end early, and reads as zeroes then. */
  async #read(offset: number, length: number): Promise<Uint8Array | null> {
    if (length === 0) return new Uint8Array(0);
    if (!this.#isInside(offset, length)) return null;
    this.#spend(length);
    const bytes = new Uint8Array(length);
    await this.#file.read(offset, bytes);
    return bytes;
  }

  #isInside(offset: number, length: number): boolean {
    return offset < this.#file.length && offset + length <= roundUp(this.#file.length, this.#clusterSize);
  }

  #spend(length: number): void {
    this.#budget -= length;
    if (this.#budget >= 0) return;
    const { path } = this.#file;
    throw BlockError.at(path, 'limit', 'Bitmaps are too large, or overlap in the file', { operation: 'open' });
  }

  #unfit(name: string): BlockError {
    return this.#invalid(`Bitmap '${name}' doesn't satisfy the constraints`);
  }

  #unreadable(name: string): BlockError {
    return this.#invalid(`Could not read bitmap_table table from image for bitmap '${name}': Invalid argument`);
  }

  #invalid(message: string): BlockError {
    const { path } = this.#file;
    return BlockError.at(path, 'invalid-image', message, { operation: 'open' });
  }
}

/** Marks the granules whose bits are set, lowest bit first; the first bit is that of guest `offset`. */
function setBits(bitmap: DirtyBitmap, offset: number, bytes: Uint8Array): void {
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
      setRange(bitmap, offset + from * granularity, (bit - from) * granularity);
      from = -1;
    }
    bit++;
  }
  if (from >= 0) setRange(bitmap, offset + from * granularity, (bits - from) * granularity);
}

/** Bits behind the end of the disk are nothing. */
function setRange(bitmap: DirtyBitmap, offset: number, length: number): void {
  const end = Math.min(offset + length, bitmap.size);
  if (offset < end) bitmap.set(offset, end - offset);
}
