// Copy on write: when a part of a cluster (or of subclusters) is written to a place that does not hold the rest of its content, the rest is copied from where
// it is.
//
//   | old content | piece | old content | piece | old content | zeroes |
//   from                                                      ^ end  to      the disk may end inside of the cluster

import { later, settleAll } from '../../../util/settle.js';
import type { Qcow2Image } from './image.js';
import { readGuest } from './read.js';
import { type GuestOffset, plus } from './types.js';

/** A part of a cluster that a request writes. */
export interface Piece {
  /** Offset in the cluster. */
  within: number;
  data: Uint8Array;
}

/** Bytes [from, to) of a cluster. */
export interface Part {
  from: number;
  to: number;
}

/** Parts of the old content that are nearer to each other than this are read at once, with what lies between them: a read costs more than its bytes. */
const NEAR_BYTES = 64 << 10;

/**
 * Returns the new content of a part of the guest cluster at `guest`: its old content, zeroes beyond the end of the disk, overwritten with `pieces`, which are
 * ascending and lie in the part. The caller holds the cluster's range lock, and frees the buffer (`memory.free`).
 */
export async function mergePart(
  image: Qcow2Image,
  guest: GuestOffset,
  { from, to }: Part,
  pieces: readonly Piece[],
): Promise<Uint8Array> {
  const merged = image.memory.allocate(to - from);
  try {
    const end = Math.max(from, Math.min(to, image.length() - guest));
    const gaps = gapsOf(pieces, from, end);
    if (gaps.length > 0) {
      const stop = image.data.raise('cow_read');
      if (stop !== undefined) await stop;
      const reads = gaps.map((gap) =>
        later(readGuest(image, plus(guest, gap.from), merged.subarray(gap.from - from, gap.to - from))),
      );
      await settleAll(reads, null);
    }
    merged.fill(0, end - from);
    for (const { within, data } of pieces) merged.set(data, within - from);
    return merged;
  } catch (error) {
    image.memory.free(merged);
    throw error;
  }
}

/** The parts of [from, end) that `pieces` do not cover; near ones are one, with the piece between them. */
function gapsOf(pieces: readonly Piece[], from: number, end: number): Part[] {
  const gaps: Part[] = [];
  const add = (start: number, stop: number): void => {
    const last = gaps[gaps.length - 1];
    if (last !== undefined && start - last.to < NEAR_BYTES) last.to = stop;
    else gaps.push({ from: start, to: stop });
  };
  let at = from;
  for (const { within, data } of pieces) {
    if (within > at) add(at, within);
    at = within + data.length;
  }
  if (at < end) add(at, end);
  return gaps;
}
