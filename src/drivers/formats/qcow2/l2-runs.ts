// Runs of L2 entries, for walks over whole tables: images have millions of entries, most of which differ from the one before only in that their host cluster is
// the next one. What is true of the first entry of a run is true of all of it, so that decoding and judging it is done once.
//
//   entry   normal 5 | normal 6 | normal 7 | normal 9, copied | normal 10, copied | zeroes
//   run     3 ............................ | 2 ................................. | 1

import { PART_ITEMS } from '../../../util/parts.js';
import type { L2Codec } from './l2-codec.js';
import { L2_ENTRY_BYTES } from './types.js';

/**
 * Length of the run at `slot`, from 1 to `max` entries. All of them have the flags and the reserved bits of the first, which has a host cluster of its own (it is
 * neither compressed nor without one), and their clusters are contiguous. A run may end early: at 4 GiB of the file, and of extended entries after the first.
 */
export function hostRun(codec: L2Codec, table: DataView, slot: number, max: number, clusterBits: number): number {
  // The second word of an extended entry must be judged, too.
  if (codec.entryBytes !== L2_ENTRY_BYTES) return 1;
  const high = table.getInt32(slot * L2_ENTRY_BYTES);
  const low = table.getInt32(slot * L2_ENTRY_BYTES + 4);
  // Up to where the low word overflows.
  const most = Math.min(max, ((~low >>> 0) >>> clusterBits) + 1) | 0;
  let count = 1;
  for (let part = count; count === part && part < most; part = Math.min(most, part + PART_ITEMS)) {
    const first = (low + (part << clusterBits)) | 0;
    count = part + runIn(table, slot + part, Math.min(PART_ITEMS, most - part), high, first, 1 << clusterBits);
  }
  return count;
}

/** How many entries from `slot` on, `most` at most, have the words `high` and `low`, which grows by `step`. */
function runIn(table: DataView, slot: number, most: number, high: number, low: number, step: number): number {
  let next = low;
  let count = 0;
  for (let at = slot * L2_ENTRY_BYTES; count < most; at += L2_ENTRY_BYTES) {
    if (table.getInt32(at + 4) !== next || table.getInt32(at) !== high) break;
    next = (next + step) | 0;
    count++;
  }
  return count;
}
