// The format extension of a Parallels image: a cluster of features, of which one is known, a dirty bitmap. It is right as long as nobody writes to the image who does not
// know it: who opens an image to read has its bitmaps, by their identifiers, and the first change takes the extension out of the header.
//
//   | magic | MD5 of what follows | feature: magic, flags, size | data | feature | data | ... | end |

import { DirtyBitmap, MAX_GRANULARITY } from '../../../block/bitmap.js';
import { markBits, markRange } from '../../../block/bitmap-bits.js';
import { digestOf } from '../../../host/cipher.js';
import { viewOf } from '../../../util/bytes.js';
import { BlockError } from '../../../util/errors.js';
import { isPowerOfTwo, roundUp, SECTOR_BYTES } from '../../../util/numbers.js';
import type { ImageFile } from '../../image-file.js';
import type { Header } from './header.js';

const MAGIC = 0xab234cef23dcea87n;
const CHECKSUM = { from: 8, to: 24 } as const;
const Feature = { end: 0n, bitmap: 0x20385fae252cb34an } as const;
const FEATURE_BYTES = 24;
const NECESSARY = 1n;
const BITMAP_BYTES = 32;
/** In place of the sector in which bits lie. */
const NONE_SET = 0n;
const ALL_SET = 1n;
/** What is read of all bitmaps of one image. */
const MAX_BITMAP_BYTES = 64 << 20;
/** An extension is one cluster, of which no more is looked at. */
const MAX_EXTENSION_BYTES = 64 << 20;

interface Feature {
  magic: bigint;
  flags: bigint;
  data: Uint8Array;
}

function failure(file: ImageFile, reason: string, code: 'invalid-image' | 'limit' = 'invalid-image'): BlockError {
  return BlockError.at(file.path, code, reason, { operation: 'open' });
}

/** The features, without the end. Rejects with `invalid-image`, in QEMU's words, and `io`. */
async function readFeatures(file: ImageFile, header: Header): Promise<Feature[]> {
  const { extensionOffset, clusterBytes } = header;
  if (extensionOffset + CHECKSUM.to > file.length || clusterBytes > MAX_EXTENSION_BYTES) {
    throw failure(file, 'The Format Extension lies outside of the image');
  }
  const bytes = new Uint8Array(clusterBytes);
  await file.read(extensionOffset, bytes);
  const view = viewOf(bytes);
  const magic = view.getBigUint64(0, true);
  if (magic !== MAGIC) {
    throw failure(
      file,
      `Wrong parallels Format Extension magic: 0x${magic.toString(16)}, expected: 0x${MAGIC.toString(16)}`,
    );
  }
  const digest = digestOf('md5', bytes.subarray(CHECKSUM.to));
  if (Buffer.compare(digest, bytes.subarray(CHECKSUM.from, CHECKSUM.to)) !== 0) {
    throw failure(file, 'Wrong checksum in Format Extension header. Format extension is corrupted.');
  }
  const features: Feature[] = [];
  for (let at: number = CHECKSUM.to; at + FEATURE_BYTES <= bytes.length; ) {
    const kind = view.getBigUint64(at, true);
    if (kind === Feature.end) return features;
    const from = at + FEATURE_BYTES;
    const end = from + view.getUint32(at + 16, true);
    if (end > bytes.length) throw failure(file, 'A feature of the Format Extension is cut off');
    features.push({ magic: kind, flags: view.getBigUint64(at + 8, true), data: bytes.subarray(from, end) });
    at = roundUp(end, 8);
  }
  throw failure(file, 'The Format Extension has no end');
}

/** The bitmaps of an image that is only read. Rejects with `invalid-image`, `limit`, `io`. */
export async function readBitmaps(file: ImageFile, header: Header): Promise<DirtyBitmap[]> {
  const found: DirtyBitmap[] = [];
  let left = MAX_BITMAP_BYTES;
  for (const { magic, flags, data } of await readFeatures(file, header)) {
    if (flags !== 0n) throw failure(file, 'Flags for extension feature are unsupported');
    if (magic !== Feature.bitmap) throw failure(file, `Unknown feature: 0x${magic.toString(16)}`);
    const bitmap = emptyBitmap(file, header, data);
    left = await readBits(file, header, bitmap, data, left);
    if (found.some(({ name }) => name === bitmap.name)) throw failure(file, 'Two bitmaps have the same identifier');
    found.push(bitmap);
  }
  return found;
}

/** Marks in `bitmap` what the bits say that the table in `data` points to. `limit`: bytes of bits that may be read; resolves to what is left of it. */
async function readBits(
  file: ImageFile,
  { clusterBytes }: Header,
  bitmap: DirtyBitmap,
  data: Uint8Array,
  limit: number,
): Promise<number> {
  const { granularity, size } = bitmap;
  const view = viewOf(data);
  const span = clusterBytes * 8 * granularity;
  let left = limit;
  for (let entry = 0; entry * span < size; entry++) {
    const from = entry * span;
    const place = view.getBigUint64(BITMAP_BYTES + 8 * entry, true);
    if (place === NONE_SET) continue;
    if (place === ALL_SET) {
      markRange(bitmap, from, span);
      continue;
    }
    const offset = Number(place) * SECTOR_BYTES;
    const length = Math.min(clusterBytes, Math.ceil((size - from) / granularity / 8));
    if (offset + length > file.length) throw failure(file, 'A bitmap lies outside of the image');
    left -= length;
    if (left < 0) throw failure(file, 'The bitmaps of the Format Extension are too large', 'limit');
    const bytes = new Uint8Array(length);
    await file.read(offset, bytes);
    markBits(bitmap, from, bytes);
  }
  return left;
}

/** The bitmap that a feature describes, with nothing set. Throws `invalid-image`, `limit`. */
function emptyBitmap(file: ImageFile, { size, clusterBytes }: Header, data: Uint8Array): DirtyBitmap {
  if (data.length < BITMAP_BYTES) throw failure(file, 'A bitmap of the Format Extension is cut off');
  const view = viewOf(data);
  const sectors = view.getUint32(24, true);
  const granularity = sectors * SECTOR_BYTES;
  if (view.getBigUint64(0, true) !== BigInt(size / SECTOR_BYTES)) {
    throw failure(file, 'A bitmap of the Format Extension has another size than the disk');
  }
  if (!isPowerOfTwo(sectors) || granularity > MAX_GRANULARITY) {
    throw failure(file, `A bitmap of the Format Extension has a granularity of ${granularity} bytes`);
  }
  const entries = view.getUint32(28, true);
  const needed = Math.ceil(size / (clusterBytes * 8 * granularity));
  if (entries < needed || BITMAP_BYTES + 8 * entries > data.length) {
    throw failure(file, 'The table of a bitmap of the Format Extension is too short');
  }
  const digits = Buffer.from(data.subarray(8, 24)).toString('hex');
  const name = digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
  return new DirtyBitmap({ name, size, granularity, enabled: true, persistent: false });
}

/**
 * Before an image is changed whose extension goes: rejects with `unsupported` where a feature demands that who does not know it changes nothing. An extension that cannot
 * be read demands nothing.
 */
export async function refuseNecessary(file: ImageFile, header: Header): Promise<void> {
  const features = await readFeatures(file, header).catch((error: unknown) => {
    if (error instanceof BlockError && error.code === 'invalid-image') return [];
    throw error;
  });
  const needed = features.find(({ flags }) => (flags & NECESSARY) !== 0n);
  if (needed === undefined) return;
  const name = `0x${needed.magic.toString(16)}`;
  throw BlockError.at(file.path, 'unsupported', `The image may not be changed without its feature ${name}`, {
    operation: 'write',
  });
}
