// The map of an image: which runs of its bytes hold data, are zeroes or are absent, and in which layer of the chain and where
// in which file they lie (QAPI `MapEntry`).

import type { MapEntry } from '../schema/generated/types.js';
import { backingOf } from './chain.js';
import type { BlockNode } from './node.js';

/**
 * The runs of [start, end), in order and as long as they can be. Every run carries `filename` where it has an `offset`. `end` counts at
 * most up to the node's length.
 */
export async function* mapEntries(top: BlockNode, start: number, end: number): AsyncGenerator<MapEntry> {
  const limit = Math.min(end, top.length);
  let current: MapEntry | null = null;
  for (let at = start; at < limit; ) {
    const next = await entryAt(top, at, limit - at);
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

/** One run in the layer that determines it, or in the lowest one asked where none does. */
async function entryAt(top: BlockNode, start: number, length: number): Promise<MapEntry> {
  let run = length;
  for (let node = top, depth = 0; ; depth++) {
    const part = Math.min(run, node.length - start);
    const status = node.blockStatusSync(start, part) ?? (await node.blockStatus(start, part));
    run = status.length;
    const below = backingOf(node);
    // What a shorter backing file cannot have is zeroes already here.
    const absent = !status.allocated && (below === null || start >= below.length);
    if (status.allocated || absent || below === null) {
      return {
        start,
        length: run,
        depth,
        present: status.allocated,
        zero: status.zero || (absent && node.kind === 'format'),
        data: status.data,
        ...(status.offset >= 0 && { offset: status.offset, filename: (status.node ?? node).filename }),
      };
    }
    run = Math.min(run, below.length - start);
    node = below;
  }
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
