// Changes the header: its fields, extensions, and the backing file's name, which are in the variable part of its cluster.
//
//   1  write the sectors after the first one: all that the new header needs there, at places that the old header does not use; flush
//   2  write the first sector, which switches from the old header to the new one; flush
//
// The header's cluster may be larger than what storage writes atomically, so the switch must be one sector: after power loss at any time, the file has
// the old header or the new one. Several layouts are tried (`layouts`, `makeDrafts`). Where none has this property, the header loses its table of feature names
// first, which nobody needs to have, and gets it back in a second switch; where that does not help, the first layout that fits is used. All other extensions stay,
// unknown ones too, in their order.

import { BlockError } from '../../../util/errors.js';
import { encodeName } from '../../../util/name-bytes.js';
import { roundUp } from '../../../util/numbers.js';
import {
  Autoclear,
  Extension,
  encodeExtensions,
  encodeHeader,
  type HeaderExtension,
  type Qcow2Header,
} from './header.js';
import type { Qcow2Image } from './image.js';
import { MAX_BACKING_NAME_BYTES, SECTOR } from './types.js';

interface Draft {
  extensions: HeaderExtension[];
  header: Qcow2Header;
  /** The new cluster. */
  bytes: Uint8Array;
}

/** What the header is to be; what is left out stays as it is. */
export interface HeaderChange {
  /** All fields but the place of the backing file's name. */
  fields?: Partial<Qcow2Header>;
  /** Ways to order the extensions, the best one first. */
  layouts?: HeaderExtension[][];
  /** The backing file's name; null: none. */
  backingFile?: string | null;
}

/** Sets name and format (null: none) in the header, and flushes. Rejects with `invalid-argument` where they do not fit. */
export async function setBackingHeader(image: Qcow2Image, name: string | null, format: string | null): Promise<void> {
  checkedName(image, name);
  await changeHeader(image, () => ({
    layouts: layouts(image.extensions, Extension.backingFormat, name === null || format === null ? null : format),
    backingFile: name,
  }));
}

/** Throws `invalid-argument` where `setBackingHeader` would reject because name and format do not fit. */
export function checkBackingHeader(image: Qcow2Image, name: string, format: string): void {
  const bytes = checkedName(image, name);
  if ((image.header.autoclearFeatures & Autoclear.dataFileRaw) !== 0n) {
    const message = 'Backing file and data-file-raw cannot be used at the same time';
    throw image.error('invalid-argument', message, 'change backing file');
  }
  const { clusterSize } = image.geometry;
  const { headerLength } = image.header;
  const fits = (extensions: readonly HeaderExtension[]): boolean =>
    headerLength + encodeExtensions(extensions).length + bytes.length <= clusterSize;
  if (!layouts(image.extensions, Extension.backingFormat, format).some(fits)) throw noRoom(image);
}

/**
 * Makes the header durable that `change` describes, after a commit: called once no other commit is under way. Rejects with `invalid-argument` where it does not
 * fit into the cluster, before anything is written.
 */
export async function changeHeader(image: Qcow2Image, change: () => HeaderChange): Promise<void> {
  await image.committer.exclusive(() => writeHeaderChange(image, change()));
}

/** The same for a caller that has the commits to itself (`Committer.exclusive`). */
async function writeHeaderChange(image: Qcow2Image, change: HeaderChange): Promise<void> {
  const { fields = {}, layouts: ways = [image.extensions], backingFile = image.backingFile } = change;
  const header = { ...image.header, ...fields };
  const name = backingFile === null ? null : encodeName(backingFile);
  const old = await readOld(image);
  const drafts = ways.flatMap((extensions) => makeDrafts(image, old, header, extensions, name));
  if (drafts.length === 0) throw noRoom(image);
  const direct = drafts.find(({ bytes }) => switchesInFirstSector(image, old, bytes));
  if (direct === undefined) {
    const between = ways
      .flatMap((extensions) => makeDrafts(image, old, header, withoutNames(extensions), name))
      .find(({ bytes }) => switchesInFirstSector(image, old, bytes));
    if (between !== undefined) {
      await switchTo(image, between, backingFile);
      // Each way of the rest is tried from there.
      if (ways.some((extensions) => extensions.length !== withoutNames(extensions).length)) {
        const now = await readOld(image);
        const rest = ways.flatMap((extensions) => makeDrafts(image, now, header, extensions, name));
        const last = rest.find(({ bytes }) => switchesInFirstSector(image, now, bytes));
        if (last !== undefined) await switchTo(image, last, backingFile);
      }
      return;
    }
  }
  await switchTo(image, direct ?? drafts[0], backingFile);
}

async function readOld(image: Qcow2Image): Promise<Uint8Array> {
  const old = new Uint8Array(image.geometry.clusterSize);
  await image.file.read(0, old);
  old.set(image.encodeFirstSector());
  return old;
}

async function switchTo(image: Qcow2Image, draft: Draft, backingFile: string | null): Promise<void> {
  const { clusterSize } = image.geometry;
  await image.file.ensureLength(clusterSize);
  if (clusterSize > SECTOR) {
    await image.file.write(SECTOR, draft.bytes.subarray(SECTOR));
    await image.file.flush();
  }
  // If a write or the flush fails, it is not known which header is on disk: then the next commit writes the one in memory.
  image.headerDirty = true;
  await image.file.write(0, draft.bytes.subarray(0, SECTOR));
  Object.assign(image.header, draft.header);
  image.extensions = draft.extensions;
  image.backingFile = backingFile;
  image.replaceFirstSector(draft.bytes);
  await image.file.flush();
  image.headerDirty = false;
}

function checkedName(image: Qcow2Image, name: string | null): Buffer {
  const bytes = encodeName(name ?? '');
  if (bytes.length <= MAX_BACKING_NAME_BYTES) return bytes;
  throw image.error('invalid-argument', 'Backing file name too long', 'change backing file');
}

function noRoom(image: Qcow2Image): BlockError {
  return BlockError.at(image.file.path, 'invalid-argument', 'The backing file name does not fit into the header', {
    operation: 'change backing file',
    errno: 'ENOSPC',
  });
}

function withoutNames(extensions: readonly HeaderExtension[]): HeaderExtension[] {
  return extensions.filter(({ type }) => type !== Extension.featureNames);
}

/** Lists of extensions in which the one of this type has the new text (null: is not there): at its present place, first, last. */
export function layouts(
  extensions: readonly HeaderExtension[],
  type: number,
  text: string | null,
): HeaderExtension[][] {
  const others = extensions.filter((extension) => extension.type !== type);
  if (text === null) return [others];
  const own: HeaderExtension = { type, data: encodeName(text) };
  const ways = [
    [own, ...others],
    [...others, own],
  ];
  const at = extensions.findIndex((extension) => extension.type === type);
  if (at >= 0) ways.unshift(extensions.map((extension, i) => (i === at ? own : extension)));
  return ways;
}

/** New header clusters with these extensions: one with the name right after them, one with the name beyond all bytes that the old header uses. */
function makeDrafts(
  image: Qcow2Image,
  old: Uint8Array,
  fields: Qcow2Header,
  extensions: HeaderExtension[],
  name: Uint8Array | null,
): Draft[] {
  const oldEnd = extensionsEnd(image.header, image.extensions);
  const area = encodeExtensions(extensions);
  const { headerLength } = fields;
  const { backingFileOffset, backingFileSize } = image.header;
  const areaEnd = headerLength + area.length;
  const oldNameEnd = backingFileOffset === 0 ? oldEnd : Math.max(oldEnd, backingFileOffset + backingFileSize);
  const places = name === null ? [0] : [areaEnd, roundUp(Math.max(areaEnd, oldNameEnd), 8)];
  const drafts: Draft[] = [];
  for (const place of places) {
    if (areaEnd > old.length || place + (name?.length ?? 0) > old.length) continue;
    const header = { ...fields, backingFileOffset: place, backingFileSize: name?.length ?? 0 };
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
function switchesInFirstSector(image: Qcow2Image, old: Uint8Array, bytes: Uint8Array): boolean {
  const oldEnd = extensionsEnd(image.header, image.extensions);
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
