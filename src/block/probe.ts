// Finding out the format of an image: every format says how sure it is of the first sector; what no format knows is `raw`. What stands elsewhere has no say, as in QEMU:
// an image that is known by its end alone (VHD of fixed size) is raw for whoever does not name its format, and a guest that writes such an end to its disk changes nothing.

import { readingUse, withLink } from './child.js';
import type { BlockNode } from './node/node.js';
import { recognisers } from './registry.js';

/** Bytes that are looked at. */
export const PROBE_BYTES = 512;

/** Name of the likeliest format: at least that of the one that takes anything. */
export function probeFormat(head: Uint8Array, filename: string): string {
  let best = '';
  let bestScore = 0;
  for (const { name, probe } of recognisers()) {
    const score = probe?.(head, filename) ?? 0;
    if (score > bestScore) {
      best = name;
      bestScore = score;
    }
  }
  return best;
}

const PROBE = readingUse('probing');

/** The first sector of `node`; shorter where the node is. */
export async function readFirstSector(node: BlockNode): Promise<Uint8Array> {
  const head = new Uint8Array(Math.min(PROBE_BYTES, node.length));
  if (head.length > 0) await withLink(node, PROBE, (link) => link.read(0, head));
  return head;
}
