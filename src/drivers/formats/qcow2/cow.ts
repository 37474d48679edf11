// Copy on write: a cluster that is written in part takes the rest of its content from where it was until now.
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
 * The whole new content of the guest cluster at `guest`: what it read as before, zeroes behind the end of the disk, and `pieces` over it.
 * The caller holds the cluster's range lock and frees the buffer (`memory.free`).
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
    // One read around all gaps costs less than several, unless there is one.
    if (gaps.length > 0) {
      const from = gaps[0].from;
      const to = gaps[gaps.length - 1].to;
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

/** What `pieces`, ascending, leave of [0, end). */
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
