// A qcow2 image that is written from its first byte to its last: what it holds is known before, so that all tables come first.
//
//   | header | refcount table | refcount blocks | L1 table | L2 tables | data clusters, in the order of the disk |
//
// No cluster is left out or used twice: all refcounts are one. Memory: a bit for each cluster (`BitTree`), and one piece of a table.

import type { StreamedContent, StreamedImage } from '../../../block/registry.js';
import type { BitTree } from '../../../util/bit-tree.js';
import { viewOf } from '../../../util/bytes.js';
import { type Layout, place, planStreamed, type Qcow2CreateOptions } from './create-plan.js';
import { makeL2Codec } from './l2-extended.js';
import { putPointer } from './pointer-codec.js';
import { fillRefcounts } from './refcount-codec.js';
import { PLAIN_MATH } from './table-math.js';

/** Pointers of a table, one after the other: a cluster each from `first` on. */
function pointers(layout: Layout, first: number, count: number, bytes: number): Uint8Array {
  const table = new Uint8Array(bytes);
  const view = viewOf(table);
  for (let i = 0; i < count; i++) putPointer(view, i, place(layout, first + i), false);
  return table;
}

/** The image that is made with `options`. Throws as `planQcow2`. */
export function streamQcow2(path: string, options: Qcow2CreateOptions): StreamedImage {
  const { layout } = planStreamed(path, options, { l2Tables: 0, dataClusters: 0 });
  const { clusterSize, version } = layout.geometry;
  return {
    unit: clusterSize,
    size: layout.size,
    layout: {
      kind: 'behind-tables',
      marksZeroes: version === 3,
      head: (content) => tables(path, options, content),
    },
  };
}

/** The L2 tables that have an entry, by their place in the L1 table. */
function* tablesInUse({ data, zero }: StreamedContent, perTable: number, count: number): Generator<number> {
  for (let table = 0; table < count; ) {
    const places = [data, zero].map((bits) => bits.find(table * perTable, true)).filter((at) => at >= 0);
    if (places.length === 0) return;
    table = Math.floor(Math.min(...places) / perTable);
    yield table++;
  }
}

function* tables(path: string, options: Qcow2CreateOptions, content: StreamedContent): Generator<Uint8Array> {
  const { geometry, l1Entries } = planStreamed(path, options, { l2Tables: 0, dataClusters: 0 }).layout;
  const { clusterSize, l2Entries, blockEntries, refcountOrder } = geometry;
  let l2Tables = 0;
  for (const _ of tablesInUse(content, l2Entries, l1Entries)) l2Tables++;
  const { layout, headerBytes } = planStreamed(path, options, { l2Tables, dataClusters: content.data.count });
  const header = new Uint8Array(clusterSize);
  header.set(headerBytes);
  yield header;
  yield pointers(layout, 1 + layout.tableClusters, layout.blocks, layout.tableClusters * clusterSize);
  for (let block = 0; block < layout.blocks; block++) {
    const counts = new Uint8Array(clusterSize);
    fillRefcounts(counts, refcountOrder, 0, Math.min(blockEntries, layout.total - block * blockEntries), 1);
    yield counts;
  }
  const firstL2 = 1 + layout.tableClusters + layout.blocks + layout.l1Clusters;
  const l1 = new Uint8Array(layout.l1Clusters * clusterSize);
  const view = viewOf(l1);
  let next = 0;
  for (const table of tablesInUse(content, l2Entries, l1Entries)) {
    putPointer(view, table, place(layout, firstL2 + next++), true);
  }
  if (l1.length > 0) yield l1;
  const codec = makeL2Codec(geometry, PLAIN_MATH);
  let cluster = firstL2 + l2Tables;
  for (const table of tablesInUse(content, l2Entries, l1Entries)) {
    const entries = new Uint8Array(clusterSize);
    const slots = viewOf(entries);
    const first = table * l2Entries;
    for (const at of setBits(content.data, first, first + l2Entries)) {
      codec.put(slots, at - first, place(layout, cluster++), true, codec.all, 0);
    }
    for (const at of setBits(content.zero, first, first + l2Entries)) codec.putZero(slots, at - first);
    yield entries;
  }
}

function* setBits(bits: BitTree, from: number, to: number): Generator<number> {
  for (let at = bits.find(from, true); at >= 0 && at < to; at = bits.find(at + 1, true)) yield at;
}
