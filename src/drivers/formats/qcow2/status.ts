// Block status: the longest run with one status, across L2 tables.

import type { BlockNode } from '../../../block/node.js';
import type { BlockStatus } from '../../../block/types.js';
import type { Qcow2Image } from './image.js';
import { Kind, type KindNumber } from './mapping.js';

/** Status of the run at `offset`, at most `length` bytes. `file` is the node that host offsets count in. */
export async function statusOf(
  image: Qcow2Image,
  file: BlockNode,
  offset: number,
  length: number,
): Promise<BlockStatus> {
  const { mapping } = image;
  const { clusterSize, l2Span } = image.geometry;
  const end = offset + length;
  let kind: KindNumber | null = null;
  let host = 0;
  let at = offset;
  while (at < end) {
    const index = mapping.indexOf(at);
    let table = mapping.tableSync(index);
    while (table === undefined) {
      await mapping.loadTable(index);
      table = mapping.tableSync(index);
    }
    const lead = at % clusterSize;
    const stop = Math.min(end, (index + 1) * l2Span);
    let here: KindNumber = Kind.unallocated;
    let to = stop;
    if (table !== null) {
      const slot = Math.floor((at % l2Span) / clusterSize);
      const slots = mapping.run(table, slot, Math.ceil((lead + stop - at) / clusterSize));
      here = mapping.decode(table, slot);
      if (here === Kind.bad) throw await mapping.badEntry(table, slot);
      to = Math.min(stop, at - lead + slots * clusterSize);
    }
    if (kind === null) {
      kind = here;
      host = mapping.host + lead;
    } else if (here !== kind || (hasHost(kind) && mapping.host !== host + at - offset)) {
      break;
    }
    at = to;
  }
  return describe(image, file, kind ?? Kind.unallocated, host, at - offset);
}

function hasHost(kind: KindNumber): boolean {
  return kind === Kind.normal || kind === Kind.zeroAllocated;
}

function describe(image: Qcow2Image, file: BlockNode, kind: KindNumber, host: number, length: number): BlockStatus {
  const data = kind === Kind.normal || kind === Kind.compressed;
  const allocated = kind !== Kind.unallocated;
  return {
    length,
    allocated,
    data,
    zero: allocated ? !data : image.backing() === null,
    compressed: kind === Kind.compressed,
    offset: hasHost(kind) ? host : -1,
    node: hasHost(kind) ? file : null,
  };
}
