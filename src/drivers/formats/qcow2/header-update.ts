// Changes the backing file's name and format, which are in the variable part of the header.
//
//   1  write the sectors after the first one: all that the new header needs there, at places that the old header does not use; flush
//   2  write the first sector, which switches from the old header to the new one; flush
//
// The header's cluster may be larger than what storage writes atomically, so the switch must be one sector: after power loss at any time, the file has
// the old header or the new one. Several layouts are tried (`layouts`, `makeDrafts`); where none has this property, the first that fits is used. All
// extensions stay, unknown ones too, in their order.

import type { BlockError } from '../../../util/errors.js';
import { encodeName } from '../../../util/name-bytes.js';
import { roundUp } from '../../../util/numbers.js';
import { Extension, encodeExtensions, encodeHeader, type HeaderExtension, type Qcow2Header } from './header.js';
import type { Qcow2Image } from './image.js';
import { MAX_BACKING_NAME_BYTES, SECTOR } from './types.js';

interface Draft {
  extensions: HeaderExtension[];
  header: Qcow2Header;
  /** The new cluster. */
  bytes: Uint8Array;
}

/** Sets name and format (null: none) in the header, and flushes. Rejects with `invalid-argument` where they do not fit. */
export async function setBackingHeader(image: Qcow2Image, name: string | null, format: string | null): Promise<void> {
  const nameBytes = checkedName(image, name);
  await image.committer.exclusive(async () => {
    const { clusterSize } = image.geometry;
    const old = new Uint8Array(clusterSize);
    await image.file.read(0, old);
    old.set(image.encodeFirstSector());
    const oldEnd = extensionsEnd(image.header, image.extensions);
    const drafts = layouts(image.extensions, name === null ? null : format).flatMap((extensions) =>
      makeDrafts(image, old, extensions, name === null ? null : nameBytes, oldEnd),
    );
    if (drafts.length === 0) throw noRoom(image);
    const draft = drafts.find(({ bytes }) => switchesInFirstSector(image, old, oldEnd, bytes)) ?? drafts[0];
    await image.file.ensureLength(clusterSize);
    if (clusterSize > SECTOR) {
      await image.file.write(SECTOR, draft.bytes.subarray(SECTOR));
      await image.file.flush();
    }
    // If a write or the flush fails, it is not known which header is on disk: then the next commit writes the one in memory.
    image.headerDirty = true;
    await image.file.write(0, draft.bytes.subarray(0, SECTOR));
    image.header.backingFileOffset = draft.header.backingFileOffset;
    image.header.backingFileSize = draft.header.backingFileSize;
    image.extensions = draft.extensions;
    image.backingFile = name;
    image.replaceFirstSector(draft.bytes);
    await image.file.flush();
    image.headerDirty = false;
  });
}

/** Throws `invalid-argument` where `setBackingHeader` would reject because name and format do not fit. */
export function checkBackingHeader(image: Qcow2Image, name: string, format: string): void {
  const bytes = checkedName(image, name);
  const { clusterSize } = image.geometry;
  const { headerLength } = image.header;
  const fits = (extensions: readonly HeaderExtension[]): boolean =>
    headerLength + encodeExtensions(extensions).length + bytes.length <= clusterSize;
  if (!layouts(image.extensions, format).some(fits)) throw noRoom(image);
}

function checkedName(image: Qcow2Image, name: string | null): Buffer {
  const bytes = encodeName(name ?? '');
  if (bytes.length <= MAX_BACKING_NAME_BYTES) return bytes;
  throw image.error('invalid-argument', 'Backing file name too long', 'change backing file');
}

function noRoom(image: Qcow2Image): BlockError {
  return image.error('invalid-argument', 'The backing file name does not fit into the header', 'change backing file');
}

/** Lists of extensions with the new format: at its present place, first, last. */
function layouts(extensions: readonly HeaderExtension[], format: string | null): HeaderExtension[][] {
  const others = extensions.filter(({ type }) => type !== Extension.backingFormat);
  if (format === null) return [others];
  const own: HeaderExtension = { type: Extension.backingFormat, data: encodeName(format) };
  const ways = [
    [own, ...others],
    [...others, own],
  ];
  const at = extensions.findIndex(({ type }) => type === Extension.backingFormat);
  if (at >= 0) ways.unshift(extensions.map((extension, i) => (i === at ? own : extension)));
  return ways;
}

/** New header clusters with these extensions: one with the name right after them, one with the name beyond all bytes that the old header uses. */
function makeDrafts(
  image: Qcow2Image,
  old: Uint8Array,
  extensions: HeaderExtension[],
  name: Uint8Array | null,
  oldEnd: number,
): Draft[] {
  const area = encodeExtensions(extensions);
  const { headerLength, backingFileOffset, backingFileSize } = image.header;
  const areaEnd = headerLength + area.length;
  const oldNameEnd = backingFileOffset === 0 ? oldEnd : Math.max(oldEnd, backingFileOffset + backingFileSize);
  const places = name === null ? [0] : [areaEnd, roundUp(Math.max(areaEnd, oldNameEnd), 8)];
  const drafts: Draft[] = [];
  for (const place of places) {
    if (areaEnd > old.length || place + (name?.length ?? 0) > old.length) continue;
    const header = { ...image.header, backingFileOffset: place, backingFileSize: name?.length ?? 0 };
    const bytes = new Uint8Array(old.length);
    bytes.set(encodeHeader(header));
    bytes.set(area, headerLength);
    if (name !== null) bytes.set(name, place);
    // Bytes that the old header uses are kept where the new one has nothing.
    const keep = (from: number, to: number): void => {
      for (let at = Math.max(from, SECTOR, areaEnd); at < to; at++) {
        if (name === null || at < place || at >= place + name.length) bytes[at] = old[at];
      }
    };
    if (oldEnd > SECTOR) keep(SECTOR, oldEnd);
    if (backingFileOffset !== 0) keep(backingFileOffset, backingFileOffset + backingFileSize);
    drafts.push({ extensions, header, bytes });
  }
  return drafts;
}

/** True where `bytes` has the same content as the old cluster in all bytes after the first sector that the old header uses. */
function switchesInFirstSector(image: Qcow2Image, old: Uint8Array, oldEnd: number, bytes: Uint8Array): boolean {
  const same = (from: number, to: number): boolean => {
    for (let at = Math.max(from, SECTOR); at < to; at++) if (bytes[at] !== old[at]) return false;
    return true;
  };
  const { backingFileOffset, backingFileSize } = image.header;
  return same(SECTOR, oldEnd) && same(backingFileOffset, backingFileOffset + backingFileSize);
}

/** End of the extensions, with their end marker. */
function extensionsEnd(header: Qcow2Header, extensions: readonly HeaderExtension[]): number {
  return header.headerLength + encodeExtensions(extensions).length;
}
