// The map of an image: which runs of its bytes hold data, are zeroes or are absent, and in which layer of the chain and where
// in which file they lie (QAPI `MapEntry`).

import type { MapEntry } from '../schema/generated/types.js';
import { determiningStatus, type LayerStatus } from './chain.js';
import type { BlockNode } from './node/node.js';

/**
 * The runs of [start, end), in order and as long as they can be. Every run carries `filename` where it has an `offset`. `end` counts at
 * most up to the node's length.
 */
export async function* mapEntries(top: BlockNode, start: number, end: number): AsyncGenerator<MapEntry> {
  const limit = Math.min(end, top.length);
  let current: MapEntry | null = null;
  let inherited = false;
  for (let at = start; at < limit; ) {
    const found = describe(at, await determiningStatus(top, at, limit - at));
    const next = inherited ? asOneLookUp(top, found.entry) : found.entry;
    inherited = found.inherited;
    at += next.length;
    if (current !== null && continues(current, next)) {
      current.length += next.length;
      continue;
    }
    if (current !== null) yield current;
    current = next;
  }
  if (current !== null) yield current;
}

interface Found {
  entry: MapEntry;
  /** As in `BlockStatus`, of the top node. */
  inherited: boolean;
}

function describe(start: number, { status, depth, layer }: LayerStatus): Found {
  const { length, allocated, zero, data, offset, inherited = false } = status;
  if (inherited) {
    return { entry: { start, length, depth, present: false, zero: false, data: false }, inherited: depth === 0 };
  }
  const place = offset >= 0 && { offset, filename: (status.node ?? layer).filename };
  return { entry: { start, length, depth, present: allocated, zero, data, ...place }, inherited };
}

/**
 * What follows an inherited run is listed as a part of it, as far as the look-up goes that found that: qemu-img does not learn within one
 * that a shorter backing file has ended.
 */
function asOneLookUp(top: BlockNode, entry: MapEntry): MapEntry {
  const more = top.lookUpEnd(entry.start - 1) - entry.start;
  if (entry.present || !entry.zero || more <= 0) return entry;
  return { ...entry, length: Math.min(entry.length, more), zero: false };
}

function continues(current: MapEntry, next: MapEntry): boolean {
  return (
    current.depth === next.depth &&
    current.present === next.present &&
    current.zero === next.zero &&
    current.data === next.data &&
    current.filename === next.filename &&
    (current.offset === undefined ? next.offset === undefined : next.offset === current.offset + current.length)
  );
}
