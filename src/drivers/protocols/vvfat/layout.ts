// What lies where on the disk: bytes that are made when it is opened (tables and directories), and files, which are read when they are asked for. Between
// them there are zeroes.

import { roundUp } from '../../../util/numbers.js';
import { partitionTable, reservedSectors } from './boot-sector.js';
import { dotEntries, fileEntries, labelEntry } from './directory.js';
import {
  byteOfCluster,
  byteOfFat,
  byteOfRoot,
  byteOfSector,
  FIRST_CLUSTER,
  type Geometry,
  SECTOR_BYTES,
} from './geometry.js';
import type { Scan, ScannedFile, ScannedFolder } from './scan.js';
import { FatTable } from './table.js';

/** Bytes of the disk, whole sectors. */
export interface Span {
  start: number;
  end: number;
}

/** Regions do not overlap. */
export interface Region extends Span {
  /** What lies there, from `start` on; behind it, there are zeroes. */
  content: Uint8Array | ScannedFile;
}

/** The regions of the disk, in its order. */
export function layOut(geometry: Geometry, scan: Scan, label: Uint8Array): Region[] {
  const regions: Region[] = [];
  const add = (start: number, content: Uint8Array) => {
    regions.push({ start, end: start + roundUp(content.length, SECTOR_BYTES), content });
  };
  if (!geometry.floppy) add(0, partitionTable(geometry));
  for (const { sector, bytes } of reservedSectors(geometry, label, scan.used)) {
    add(byteOfSector(geometry, sector), bytes);
  }
  const table = tableOf(geometry, scan);
  for (const index of [0, 1]) add(byteOfFat(geometry, index), table);
  for (const folder of scan.folders) add(startOf(geometry, folder), directoryBytes(folder, label));
  for (const file of scan.files) {
    const start = startOf(geometry, file);
    regions.push({ start, end: start + roundUp(file.entry.size, SECTOR_BYTES), content: file });
  }
  return regions.sort((a, b) => a.start - b.start);
}

/** The FAT, up to its last sector that is not empty. */
function tableOf(geometry: Geometry, { folders, files, used }: Scan): Uint8Array {
  const table = new FatTable(geometry);
  for (const { run } of [...folders, ...files]) if (run !== null) table.chain(run);
  const bits = (FIRST_CLUSTER + used) * geometry.fatType;
  return table.bytes.subarray(0, Math.ceil(bits / 8 / SECTOR_BYTES) * SECTOR_BYTES);
}

function startOf(geometry: Geometry, { run }: ScannedFile | ScannedFolder): number {
  return run === null ? byteOfRoot(geometry) : byteOfCluster(geometry, run.first);
}

function directoryBytes(folder: ScannedFolder, label: Uint8Array): Uint8Array {
  const { parent } = folder;
  const first =
    parent === null
      ? labelEntry(label)
      : dotEntries(folder.entry, clusterOf(folder), parent.entry, parent.parent === null ? 0 : clusterOf(parent));
  const entries = folder.children.map((child) =>
    fileEntries(child.entry.name, child.shortName, child.entry, clusterOf(child)),
  );
  return Buffer.concat([first, ...entries]);
}

function clusterOf({ run }: ScannedFile | ScannedFolder): number {
  return run?.first ?? 0;
}

/** What the regions cover, as long as it goes without a gap. */
export function spansOf(regions: readonly Region[]): Span[] {
  const spans: Span[] = [];
  for (const { start, end } of regions) {
    const last = spans.at(-1);
    if (last?.end === start) last.end = end;
    else spans.push({ start, end });
  }
  return spans;
}

/** The index of the first span that ends behind `offset`; as many as there are where none does. */
export function spanAt(spans: readonly Span[], offset: number): number {
  let low = 0;
  let high = spans.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (spans[middle].end > offset) high = middle;
    else low = middle + 1;
  }
  return low;
}
