// Opens what is left of an image's snapshots and bitmaps where it is to be repaired. An image whose tables cannot be read does not open otherwise, so that
// nothing is lost by accident: a repair of `all` gives up what cannot be read, and says so.

import { BlockError } from '../../../util/errors.js';
import type { BitmapHome } from './bitmap-kept.js';
import { regionsOf } from './bitmap-on-disk.js';
import { type SalvagedBitmaps, salvageBitmaps } from './bitmaps.js';
import type { Fault } from './check-state.js';
import type { HeaderArea } from './header.js';
import type { Qcow2Image } from './image.js';
import type { BitmapsToMend } from './repair-bitmaps.js';
import type { Damage } from './repair-image.js';
import { MAX_SNAPSHOTS, salvageSnapshotTable, tableBytes } from './snapshot-table.js';
import type { HostOffset } from './types.js';

/** What was found of an image that is to be repaired. */
export interface FoundDamage extends Damage {
  salvaged: SalvagedBitmaps;
}

/** What is left is to have a directory of its own. */
function toMend({ kept }: SalvagedBitmaps, { clusterSize }: BitmapHome): BitmapsToMend {
  return { list: kept.map(({ stored }) => stored), regions: kept.flatMap((one) => regionsOf(one, clusterSize)) };
}

/** Reads snapshots and bitmaps into the image as far as they can be read. Rejects with `io`. */
export async function readDamaged(
  image: Qcow2Image,
  area: HeaderArea,
  home: BitmapHome,
  warn: (message: string) => void,
): Promise<FoundDamage> {
  const faults: Fault[] = [];
  let error: BlockError | null = null;
  let gaveUp = false;
  try {
    if (image.header.nbSnapshots > MAX_SNAPSHOTS)
      throw image.error('invalid-image', 'Snapshot table too large', 'open');
    await image.readSnapshots();
  } catch (thrown) {
    if (!(thrown instanceof BlockError) || thrown.code !== 'invalid-image') throw thrown;
    error = thrown;
    gaveUp = true;
    const { list, lost, overlong } = await salvageSnapshotTable(image.file, image.header);
    image.snapshots = { list, offset: image.header.snapshotsOffset as HostOffset, bytes: tableBytes(list) };
    for (const index of overlong) faults.push({ kind: 'snapshot-extra-data', index });
    if (lost > 0) faults.push({ kind: 'snapshots-unreadable', index: list.length, entries: lost });
  }
  const salvaged = await salvageBitmaps(image.file, area, home, warn);
  for (const { reason } of salvaged.lost) faults.push({ kind: 'bitmap-unreadable', reason });
  error ??= salvaged.lost[0] ?? null;
  const snapshots = { list: image.snapshots.list, gaveUp };
  return { faults, error, snapshots, salvaged, ...(salvaged.lost.length > 0 && { bitmaps: toMend(salvaged, home) }) };
}
