// Copy on write: when a part of a cluster is written to a new place, the rest of its content is copied from the old place.
//
//   | old content | piece | old content | piece | old content | zeroes |
//   0                                                         ^ end of the disk, where that is inside of the cluster

import type { Qcow2Image } from './image.js';
import { readGuest } from './read.js';
import { type GuestOffset, plus } from './types.js';

/** A part of a cluster that a request writes. */
export interface Piece {
  /** Offset in the cluster. */
  within: number;
  data: Uint8Array;
}

/**
 * Returns the whole new content of the guest cluster at `guest`: its old content, zeroes beyond the end of the disk, overwritten with `pieces`. The
 * caller holds the cluster's range lock, and frees the buffer (`memory.free`).
 */
export async function mergeCluster(
  image: Qcow2Image,
  guest: GuestOffset,
  pieces: readonly Piece[],
): Promise<Uint8Array> {
  const { clusterSize } = image.geometry;
  const cluster = image.memory.allocate(clusterSize);
  try {
    const inside = Math.max(0, Math.min(clusterSize, image.length() - guest));
    const gaps = gapsOf(pieces, inside);
    // One read over all gaps costs less than one read for each.
    if (gaps.length > 0) {
      const from = gaps[0].from;
      const to = gaps[gaps.length - 1].to;
      const stop = image.data.raise('cow_read');
      if (stop !== undefined) await stop;
      await readGuest(image, plus(guest, from), cluster.subarray(from, to));
    }
    cluster.fill(0, inside);
    for (const { within, data } of pieces) cluster.set(data, within);
    return cluster;
  } catch (error) {
    image.memory.free(cluster);
    throw error;
  }
}

/** The parts of [0, end) that `pieces`, ascending, do not cover. */
function gapsOf(pieces: readonly Piece[], end: number): { from: number; to: number }[] {
  const gaps: { from: number; to: number }[] = [];
  let at = 0;
  for (const { within, data } of pieces) {
    if (within > at) gaps.push({ from: at, to: within });
    at = within + data.length;
  }
  if (at < end) gaps.push({ from: at, to: end });
  return gaps;
}
