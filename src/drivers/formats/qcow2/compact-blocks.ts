// The end of a compact: where the use of the file ends, and the refcount blocks that count nothing any more.
//
//   | all that is in use | block 7, which counts only itself | block 8, which block 7 counts |
//                        ^ use ends here, once the refcount table points to neither
//
// A block is dropped when it counts nothing but itself; the next round drops those that counted it. So power loss leaves lost space at worst.

import { type CompactMap, UNCOUNTED, USED } from './compact-map.js';
import type { Qcow2Image } from './image.js';
import { reserveEntry } from './table-space.js';
import { type ClusterIndex, clusterAt, NO_HOST, plus } from './types.js';

/** The lowest end that the file can get, in clusters, and how many refcount blocks that needs. */
export function lowestEnd(
  { geometry }: Qcow2Image,
  { states, blocks }: CompactMap,
): { limit: number; keptBlocks: number } {
  let used = 0;
  for (const state of states) if (state === USED) used++;
  let limit = endOfFirst(states, used);
  for (;;) {
    const keptBlocks = Math.ceil(limit / geometry.blockEntries);
    let dropped = 0;
    for (const index of blocks.values()) if (index >= keptBlocks) dropped++;
    const next = endOfFirst(states, used - dropped);
    if (next === limit) return { limit, keptBlocks };
    limit = next;
  }
}

/** Where the first `count` clusters end that can be allocated. */
function endOfFirst(states: Uint8Array, count: number): number {
  let at = 0;
  for (let left = count; left > 0 && at < states.length; at++) if (states[at] !== UNCOUNTED) left--;
  return at;
}

/** Where use ends, in clusters, once all refcount blocks behind that are dropped. */
export function endOfUse({ geometry }: Qcow2Image, { states, blocks }: CompactMap): number {
  let end = states.length;
  while (end > 0 && (states[end - 1] !== USED || blocks.has(end - 1))) end--;
  for (let before = -1; before !== end; ) {
    before = end;
    for (const [cluster, index] of blocks) {
      if (index * geometry.blockEntries < end && cluster >= end) end = cluster + 1;
    }
  }
  return end;
}

/** A cluster that nothing refers to. */
export interface Lost {
  cluster: ClusterIndex;
  refcount: number;
}

/**
 * Clusters behind the end of the file that have a refcount. Power loss may leave them, where the file was not longer yet on the disk; no check looks at them, and the file
 * could not be cut before them. The image has no errors otherwise, so nothing refers to them. Rejects with `io`, `corrupt-image`.
 */
export async function countedBehindEnd({ file, geometry, refcounts }: Qcow2Image): Promise<Lost[]> {
  const { clusterSize, blockEntries } = geometry;
  const end = Math.ceil(file.length / clusterSize);
  const found: Lost[] = [];
  for (let index = Math.floor(end / blockEntries); index < refcounts.table.entries; index++) {
    if (refcounts.table.target(index) === 0) continue;
    const first = Math.max(end, index * blockEntries);
    for (let cluster = first as ClusterIndex; cluster < (index + 1) * blockEntries; cluster = plus(cluster, 1)) {
      const refcount = Number(await refcounts.get(cluster));
      if (refcount > 0) found.push({ cluster, refcount });
    }
  }
  return found;
}

/** Drops the refcount blocks behind cluster `end`. Nobody may use the image meanwhile. Rejects with `io`, `corrupt-image`. */
export async function dropBlocks(image: Qcow2Image, end: number): Promise<void> {
  const { allocation, frees, geometry, metadata, refcounts } = image;
  for (;;) {
    await image.quiet();
    const counted: ClusterIndex[] = [];
    let dropped = 0;
    for (let index = Math.ceil(end / geometry.blockEntries); index < refcounts.table.entries; index++) {
      const offset = refcounts.table.target(index);
      if (offset === 0 || !(await countsNothing(image, index))) continue;
      const cluster = clusterAt(offset, geometry);
      await reserveEntry(image, refcounts.table, 'refcount-table', index);
      refcounts.blocks.drop(index);
      refcounts.table.set(index, NO_HOST, false);
      metadata.remove('refcount-block', offset);
      if (refcounts.indexOf(cluster) !== index) counted.push(cluster);
      dropped++;
    }
    allocation.refresh();
    if (dropped === 0) return;
    await image.commit();
    for (const cluster of counted) frees.add(cluster, 1, false);
  }
}

/** The block has no refcount but its own. */
async function countsNothing({ geometry, refcounts }: Qcow2Image, index: number): Promise<boolean> {
  const own = clusterAt(refcounts.table.target(index), geometry);
  const first = (index * geometry.blockEntries) as ClusterIndex;
  for (let cluster = first; cluster < first + geometry.blockEntries; cluster = plus(cluster, 1)) {
    if ((await refcounts.get(cluster)) > (cluster === own ? 1 : 0)) return false;
  }
  return true;
}
