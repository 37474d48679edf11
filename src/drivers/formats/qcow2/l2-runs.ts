// Runs of L2 entries, for walks over whole tables: images have millions of entries, most of which differ from the one before only in that their host cluster is
// the next one. What is true of the first entry of a run is true of all of it, so that decoding and judging it is done once.
//
//   entry   normal 5 | normal 6 | normal 7 | normal 9, copied | normal 10, copied | zeroes
//   run     3 ............................ | 2 ................................. | 1

import type { L2Codec } from './l2-codec.js';
import type { TableMath } from './table-math.js';
import { L2_ENTRY_BYTES } from './types.js';

/**
 * Length of the run at `slot`, from 1 to `max` entries. All of them have the flags and the reserved bits of the first, which has a host cluster of its own (it is
 * neither compressed nor without one), and their clusters are contiguous. A run may end early: at 4 GiB of the file, and of extended entries after the first.
 */
export function hostRun(
  math: TableMath,
  codec: L2Codec,
  table: DataView,
  slot: number,
  max: number,
  clusterBits: number,
): number {
  // The second word of an extended entry must be judged, too.
  if (codec.entryBytes !== L2_ENTRY_BYTES) return 1;
  const low = table.getUint32(slot * L2_ENTRY_BYTES + 4);
  // Up to where the low word overflows: a carry could reach the flags.
  const most = Math.min(max, ((~low >>> 0) >>> clusterBits) + 1);
  return math.rising(table, slot * L2_ENTRY_BYTES, most, 2 ** clusterBits);
}
