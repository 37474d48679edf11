// Repairs the place of the active L1 table, where it runs behind the end of the file, or shares clusters with something else: nothing may be changed in it then.
// It is copied into unused space, with as many entries as the disk needs; a header that says more has been damaged, or they are of no use to the disk:
//
//   header --> | old L1 table |     ...     | new L1 table |   flush, then the header's first sector points to the new one, flush

import type { CheckState } from './check-state.js';
import { patchL1Table } from './header-patch.js';
import { POINTER_BYTES } from './pointer-codec.js';
import type { RepairSpace } from './repair-space.js';
import type { HostOffset } from './types.js';

/** True where the active L1 table runs behind the end of the file, or lies in a cluster of the window that is used for something else, too. */
export function isL1Misplaced(state: CheckState): boolean {
  const { tally, clusterBytes } = state;
  const { offset, view } = state.l1Tables[0];
  if (state.isBeyond(offset, view.byteLength)) return true;
  const first = offset / clusterBytes - tally.start;
  const end = (offset + view.byteLength) / clusterBytes - tally.start;
  for (let at = Math.max(0, first); at < Math.min(end, tally.size); at++) if (tally.references[at] > 1) return true;
  return false;
}

/** Copies the active L1 table, and changes the layout. Rejects with `io`, `no-space`; the old table counts then. */
export async function moveActiveL1(
  { file, layout, clusterBytes, codec, l1Tables }: CheckState,
  space: RepairSpace,
): Promise<void> {
  const span = (clusterBytes / codec.entryBytes) * clusterBytes;
  const entries = Math.min(layout.l1Size, Math.max(1, Math.ceil(layout.size / span)));
  const table = new Uint8Array(l1Tables[0].view.buffer, 0, entries * POINTER_BYTES);
  const offset = ((await space.take(Math.ceil(table.length / clusterBytes))) * clusterBytes) as HostOffset;
  await file.write(offset, table);
  await space.settle();
  await patchL1Table(file, offset, entries);
  layout.l1TableOffset = offset;
  layout.l1Size = entries;
}
