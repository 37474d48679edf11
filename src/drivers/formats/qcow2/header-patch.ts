// Changes single fields of a header on disk, where the image is not open as usual: for repairs. All fields are in the first sector, so that a change is
// there as a whole or not at all.

import type { Child } from '../../../block/child.js';
import { putViewBe64 } from '../../../util/bytes.js';
import { Field } from './header.js';
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

/** Makes the refcount table at `offset`, which is durable, the one that counts; flushes. */
export async function patchRefcountTable(file: Child, offset: HostOffset, clusters: number): Promise<void> {
  await patch(file, (view) => {
    putViewBe64(view, Field.refcountTableOffset, offset);
    view.setUint32(Field.refcountTableClusters, clusters);
    return true;
  });
}

async function patch(file: Child, change: (view: DataView) => boolean): Promise<void> {
  const sector = new Uint8Array(Math.min(SECTOR, file.length));
  await file.read(0, sector);
  if (!change(new DataView(sector.buffer))) return;
  await file.write(0, sector);
  await file.flush();
}
