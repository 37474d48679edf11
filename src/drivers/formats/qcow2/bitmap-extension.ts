// Writes the header extension that says where the bitmap directory is, so that power loss at any write leaves a header with the old directory or with the new
// one.
//
//   sector 0                          |  sector 1                             | ...
//   | fields, autoclear bit | ext | ext | ... | bitmaps | end |   backing file name
//                                              ^ P
//
//   the first directory   1  a backing file name that is in the way is written further behind; flush; the first sector switches to it; flush
//                         2  what lies in the sectors behind that of P, which the old end marker hides; flush
//                         3  the sector of P: the extension is there, and ignored, since the autoclear bit is not set; flush
//                         4  the first sector, with the bit
//   another directory     the 24 bytes behind P + 8, with one write where they lie in one sector. Else (never in a header that QEMU or we have made) the bit is
//                         cleared while they change: power loss meanwhile leaves an image without bitmaps, never one with a wrong directory
//   no directory          the first sector without the bit, and then the end marker at P
//
// Where P lies in the first sector, steps 3 and 4 are one write.

import { roundUp } from '../../../util/numbers.js';
import { Autoclear, Extension, encodeExtensions, type HeaderExtension } from './header.js';
import type { Qcow2Image } from './image.js';
import { SECTOR } from './types.js';

/** Type and length, before the data of an extension. */
const PREFIX_BYTES = 8;

/**
 * Makes the header name the directory that `data`, the extension's data, describes; null: there is none. To be called where no commit is under way
 * (`Committer.exclusive`). After a failure the header on disk is the old or the new one: the same call again makes it the new one. Rejects with `limit` where the
 * header has no room, having written nothing; `no-space`, `io`.
 */
export async function setBitmapsExtension(image: Qcow2Image, data: Uint8Array | null): Promise<void> {
  const at = image.extensions.findIndex(({ type }) => type === Extension.bitmaps);
  const set = (image.header.autoclearFeatures & Autoclear.bitmaps) !== 0n;
  if (data === null) {
    if (set) await setBit(image, false);
    if (at >= 0) await remove(image, at);
    return;
  }
  // One that is damaged has no meaning any more: a repair has taken the bit away.
  if (at >= 0 && image.extensions[at].data.length !== data.length) {
    await remove(image, at);
    if (image.extensions.some(({ type }) => type === Extension.bitmaps)) {
      throw image.error('limit', 'A damaged bitmaps extension is in the way of another one', 'store bitmaps');
    }
    return append(image, data);
  }
  if (at < 0) await append(image, data);
  else await replace(image, at, data, set);
}

/** Throws `limit` where the header has no room for the extension. */
export function checkExtensionRoom(image: Qcow2Image): void {
  if (image.extensions.some(({ type }) => type === Extension.bitmaps)) return;
  planAppend(image, new Uint8Array(24));
}

/** Offset of extension `index` in the file. */
function placeOf(image: Qcow2Image, index: number): number {
  const before = encodeExtensions(image.extensions.slice(0, index)).length - PREFIX_BYTES;
  return image.header.headerLength + before;
}

async function setBit(image: Qcow2Image, on: boolean): Promise<void> {
  const { header } = image;
  const before = header.autoclearFeatures;
  header.autoclearFeatures = on ? before | Autoclear.bitmaps : before & ~Autoclear.bitmaps;
  await image.committer.writeHeader();
}

/** Writes `bytes` at `offset`, within one sector of the header's cluster, and flushes. */
async function writeInSector(image: Qcow2Image, offset: number, bytes: Uint8Array): Promise<void> {
  if (offset < SECTOR) {
    const sector = image.encodeFirstSector();
    sector.set(bytes, offset);
    image.replaceFirstSector(sector);
    await image.committer.writeHeader();
    return;
  }
  await image.file.ensureLength(offset + bytes.length);
  await image.file.write(offset, bytes);
  await image.file.flush();
}

async function replace(image: Qcow2Image, index: number, data: Uint8Array, set: boolean): Promise<void> {
  const from = placeOf(image, index) + PREFIX_BYTES;
  const end = from + data.length;
  const middle = Math.min(end, roundUp(from + 1, SECTOR));
  const isWhole = middle === end;
  if (set && !isWhole) await setBit(image, false);
  await writeInSector(image, from, data.subarray(0, middle - from));
  if (!isWhole) await writeInSector(image, middle, data.subarray(middle - from));
  image.extensions[index] = { type: Extension.bitmaps, data };
  if (!set || !isWhole) await setBit(image, true);
}

interface AppendPlan {
  /** With the new one. */
  extensions: HeaderExtension[];
  /** What is written at `place`. */
  bytes: Uint8Array;
  place: number;
  /** Where the backing file name is; 0: there is none. */
  namePlace: number;
}

/** Throws `limit` where there is no room. */
function planAppend(image: Qcow2Image, data: Uint8Array): AppendPlan {
  const { clusterSize } = image.geometry;
  const { headerLength, backingFileOffset: nameAt, backingFileSize: nameBytes } = image.header;
  const own: HeaderExtension = { type: Extension.bitmaps, data };
  const oldEnd = headerLength + encodeExtensions(image.extensions).length;
  const plan = (extensions: HeaderExtension[], place: number, behind: number): AppendPlan | null => {
    const area = encodeExtensions(extensions);
    const end = headerLength + area.length;
    const inTheWay = nameAt !== 0 && nameAt < end;
    const namePlace = inTheWay ? roundUp(Math.max(end, behind), 8) : nameAt;
    const fits = end <= clusterSize && (nameAt === 0 || namePlace + nameBytes <= clusterSize);
    return fits ? { extensions, bytes: area.subarray(place - headerLength), place, namePlace } : null;
  };
  const all = [...image.extensions, own];
  let found = plan(all, oldEnd - PREFIX_BYTES, nameAt + nameBytes);
  // A header of one sector is written at once, so that anything in it may move; the names of features are there for messages alone.
  if (found === null && clusterSize === SECTOR) {
    const needed = all.filter(({ type }) => type !== Extension.featureNames);
    found = plan(all, headerLength, 0) ?? plan(needed, headerLength, 0);
  }
  if (found === null) throw image.error('limit', 'The header has no room for the bitmaps extension', 'store bitmaps');
  return found;
}

async function append(image: Qcow2Image, data: Uint8Array): Promise<void> {
  const { header } = image;
  const { extensions, bytes, place, namePlace } = planAppend(image, data);
  const end = place + bytes.length;
  if (image.geometry.clusterSize === SECTOR) {
    const sector = image.encodeFirstSector();
    const name = sector.slice(header.backingFileOffset, header.backingFileOffset + header.backingFileSize);
    sector.set(bytes, place);
    if (namePlace !== 0) sector.set(name, namePlace);
    header.backingFileOffset = namePlace;
    image.replaceFirstSector(sector);
  } else {
    if (namePlace !== header.backingFileOffset) await moveName(image, namePlace);
    const sector = place - (place % SECTOR);
    for (let at = roundUp(end, SECTOR) - SECTOR; at > sector; at -= SECTOR) {
      await writeInSector(image, at, bytes.subarray(at - place, Math.min(end, at + SECTOR) - place));
    }
    const first = bytes.subarray(0, Math.min(end, sector + SECTOR) - place);
    if (sector > 0) await writeInSector(image, place, first);
    else {
      const head = image.encodeFirstSector();
      head.set(first, place);
      image.replaceFirstSector(head);
    }
  }
  image.extensions = extensions;
  await setBit(image, true);
}

/** Moves the backing file name to `place`, which no part of the header uses. */
async function moveName(image: Qcow2Image, place: number): Promise<void> {
  const { header, file } = image;
  const size = header.backingFileSize;
  const name = new Uint8Array(size);
  await file.read(header.backingFileOffset, name);
  await file.ensureLength(place + size);
  await file.write(place, name);
  await file.flush();
  if (place < SECTOR) {
    const head = image.encodeFirstSector();
    head.set(name.subarray(0, Math.min(size, SECTOR - place)), place);
    image.replaceFirstSector(head);
  }
  header.backingFileOffset = place;
  await image.committer.writeHeader();
}

/** Takes extension `index`, which is not valid any more, out of the header. Where others behind it could not be moved with one write, it stays, and is ignored. */
async function remove(image: Qcow2Image, index: number): Promise<void> {
  const place = placeOf(image, index);
  const extensions = image.extensions.filter((_, i) => i !== index);
  const end = image.header.headerLength + encodeExtensions(image.extensions).length;
  const rest = encodeExtensions(extensions).subarray(place - image.header.headerLength);
  const isLast = index === image.extensions.length - 1;
  if (!isLast && Math.floor(place / SECTOR) !== Math.floor((end - 1) / SECTOR)) return;
  await writeInSector(image, place, rest);
  image.extensions = extensions;
}
