// The entries of a directory.
//
//   0 name (11)   11 attributes   14 created: time, date   18 read: date   20 cluster, upper half   22 changed: time, date   26 cluster, lower half   28 size

import type { FolderEntry } from '../../../host/host.js';
import { ENTRY_BYTES } from './geometry.js';
import { longNameBytes } from './names.js';
import { fatTime } from './times.js';

export const ATTRIBUTE_FOLDER = 0x10;
const ATTRIBUTE_FILE = 0x20;
/** Of a volume's name, which is no file. */
export const ATTRIBUTE_LABEL_BIT = 0x08;
/** As QEMU's: to be archived, too. */
const ATTRIBUTE_LABEL = ATTRIBUTE_LABEL_BIT | ATTRIBUTE_FILE;

/** What a directory says of a file, beside its names. */
export type Described = Pick<FolderEntry, 'kind' | 'size' | 'mtimeMs' | 'ctimeMs' | 'atimeMs'>;

export function labelEntry(label: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(ENTRY_BYTES);
  bytes.set(label);
  bytes[11] = ATTRIBUTE_LABEL;
  return bytes;
}

/** `.` and `..` of a folder: itself, and the one that it lies in; cluster 0 stands for the root. */
export function dotEntries(own: Described, cluster: number, parent: Described, parentCluster: number): Uint8Array {
  const dots = [shortEntry('.'.padEnd(11), own, cluster), shortEntry('..'.padEnd(11), parent, parentCluster)];
  return Buffer.concat(dots);
}

/** The entries of a file or a folder; `cluster` is its first one, 0 where it has none. */
export function fileEntries(name: string, shortName: string, described: Described, cluster: number): Uint8Array {
  return Buffer.concat([
    longNameBytes(name, Buffer.from(shortName, 'latin1')),
    shortEntry(shortName, described, cluster),
  ]);
}

function shortEntry(shortName: string, described: Described, cluster: number): Uint8Array {
  const bytes = new Uint8Array(ENTRY_BYTES);
  const view = new DataView(bytes.buffer);
  const isFolder = described.kind === 'folder';
  const created = fatTime(described.ctimeMs);
  const changed = fatTime(described.mtimeMs);
  bytes.set(Buffer.from(shortName, 'latin1'));
  bytes[11] = isFolder ? ATTRIBUTE_FOLDER : ATTRIBUTE_FILE;
  view.setUint16(14, created.time, true);
  view.setUint16(16, created.date, true);
  view.setUint16(18, fatTime(described.atimeMs).date, true);
  view.setUint16(20, cluster >>> 16, true);
  view.setUint16(22, changed.time, true);
  view.setUint16(24, changed.date, true);
  view.setUint16(26, cluster & 0xffff, true);
  view.setUint32(28, isFolder ? 0 : described.size, true);
  return bytes;
}
