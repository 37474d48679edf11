// Changes single fields of a header on disk, where the image is not open as usual: for repairs. All fields are in the first sector, so that a change is
// there as a whole or not at all.

import type { Child } from '../../../block/child.js';
import { putViewBe64, viewOf } from '../../../util/bytes.js';
import { Autoclear, Extension, Field, KNOWN_AUTOCLEAR } from './header.js';
import { type HostOffset, SECTOR } from './types.js';

/** Sets and clears incompatible feature bits of a version 3 header, and flushes; nothing is written where they are so already. */
export async function patchFeatures(file: Child, { set = 0n, clear = 0n }): Promise<void> {
  await patch(file, (view) => {
    const before = view.getBigUint64(Field.incompatibleFeatures);
    const after = (before | set) & ~clear;
    view.setBigUint64(Field.incompatibleFeatures, after);
    return after !== before;
  });
}

/** Clears the autoclear bits of a version 3 header that Diskwright does not know, as whoever writes an image must, and flushes; nothing is written where there are none. */
export async function patchAutoclear(file: Child): Promise<void> {
  await patch(file, (view) => {
    const before = view.getBigUint64(Field.autoclearFeatures);
    const after = before & KNOWN_AUTOCLEAR;
    view.setBigUint64(Field.autoclearFeatures, after);
    return after !== before;
  });
}

/** Makes the refcount table at `offset`, which is durable, the one that counts; flushes. */
export async function patchRefcountTable(file: Child, offset: HostOffset, clusters: number): Promise<void> {
  await patch(file, (view) => {
    putViewBe64(view, Field.refcountTableOffset, offset);
    view.setUint32(Field.refcountTableClusters, clusters);
    return true;
  });
}

/** Makes the active L1 table of `entries` at `offset`, which is durable, the one that counts; flushes. */
export async function patchL1Table(file: Child, offset: HostOffset, entries: number): Promise<void> {
  await patch(file, (view) => {
    putViewBe64(view, Field.l1TableOffset, offset);
    view.setUint32(Field.l1Size, entries);
    return true;
  });
}

/** Makes the snapshot table at `offset`, which is durable, the one that counts; flushes. */
export async function patchSnapshotTable(file: Child, offset: HostOffset, count: number): Promise<void> {
  await patch(file, (view) => {
    putViewBe64(view, Field.snapshotsOffset, offset);
    view.setUint32(Field.nbSnapshots, count);
    return true;
  });
}

/**
 * Replaces the data of the bitmaps extension in a version 3 header, of a cluster of `clusterBytes` bytes; null: its bitmaps are not valid any more, which the autoclear bit says.
 * Flushes. Between the sectors that it lies in, the bit is not set. Resolves with false where there is no extension of that length: its bitmaps are not valid then, either.
 */
export async function patchBitmaps(file: Child, clusterBytes: number, data: Uint8Array | null): Promise<boolean> {
  const cluster = new Uint8Array(Math.min(clusterBytes, file.length));
  await file.read(0, cluster);
  const at = data === null ? -1 : placeOfBitmaps(viewOf(cluster), data.length);
  if (data === null || at < 0) {
    await patchBitmapsBit(file, false);
    return false;
  }
  const end = at + data.length;
  const sectors = [at - (at % SECTOR), end - 1 - ((end - 1) % SECTOR)];
  cluster.set(data, at);
  if (sectors[0] === sectors[1]) {
    await writeSector(file, cluster, sectors[0]);
    return true;
  }
  await patchBitmapsBit(file, false);
  // The bit of this copy is that of the header before.
  for (const sector of sectors) if (sector > 0) await writeSector(file, cluster, sector);
  if (sectors[0] === 0) await writeSector(file, withoutBit(cluster), 0);
  await patchBitmapsBit(file, true);
  return true;
}

/** Where the data of a bitmaps extension of this length begins; negative: there is none. */
function placeOfBitmaps(view: DataView, length: number): number {
  for (let at = view.getUint32(Field.headerLength); at + 8 + length <= view.byteLength; ) {
    const [type, size] = [view.getUint32(at), view.getUint32(at + 4)];
    if (type === Extension.bitmaps) return size === length ? at + 8 : -1;
    if (type === Extension.end) return -1;
    at += 8 + Math.ceil(size / 8) * 8;
  }
  return -1;
}

function withoutBit(cluster: Uint8Array): Uint8Array {
  const view = viewOf(cluster);
  view.setBigUint64(Field.autoclearFeatures, view.getBigUint64(Field.autoclearFeatures) & ~Autoclear.bitmaps);
  return cluster;
}

async function writeSector(file: Child, cluster: Uint8Array, at: number): Promise<void> {
  await file.write(at, cluster.subarray(at, Math.min(at + SECTOR, cluster.length)));
  await file.flush();
}

async function patchBitmapsBit(file: Child, on: boolean): Promise<void> {
  await patch(file, (view) => {
    const before = view.getBigUint64(Field.autoclearFeatures);
    const after = on ? before | Autoclear.bitmaps : before & ~Autoclear.bitmaps;
    view.setBigUint64(Field.autoclearFeatures, after);
    return after !== before;
  });
}

async function patch(file: Child, change: (view: DataView) => boolean): Promise<void> {
  const sector = new Uint8Array(Math.min(SECTOR, file.length));
  await file.read(0, sector);
  if (!change(new DataView(sector.buffer))) return;
  await file.write(0, sector);
  await file.flush();
}
