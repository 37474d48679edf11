// The clusters of the tables that a switch replaces (snapshot-switch.ts). The new refcounts leave them out at once, where one of the refcount blocks that are written
// anew counts them: before the switch nothing reads those blocks, after it nothing refers to the clusters, so that there is no moment at which it would be wrong. What
// the other blocks count is freed by a commit after the switch.

import type { Run } from './allocation.js';
import type { Qcow2Image } from './image.js';
import type { OverlapKind } from './options.js';
import { MetadataIndex } from './overlap.js';
import { POINTER_BYTES, pointerTarget } from './pointer-codec.js';
import type { Target } from './snapshot-target.js';
import { type ClusterIndex, clusterAt, type HostOffset, hostOf, plus } from './types.js';

/** Metadata that the image has after a switch. */
const KEPT: ReadonlySet<OverlapKind> = new Set([
  'main-header',
  'active-l1',
  'active-l2',
  'refcount-table',
  'refcount-block',
  'snapshot-table',
  'inactive-l1',
]);

/**
 * Counts one reference less for each cluster that nothing will refer to, in the deltas of `target`; `blocks`: the refcount blocks that are written anew. Returns the
 * clusters for which it has not: a commit has to free them.
 */
export function lowerUnused(image: Qcow2Image, target: Target, blocks: readonly number[]): Run[] {
  const { geometry, refcounts } = image;
  const anew = new Set(blocks);
  const kept = keptMetadata(image, target, blocks);
  const isSound = (cluster: ClusterIndex): boolean => {
    const start = hostOf(cluster, geometry);
    // Of a damaged image, an old table may overlap with one that stays: the commit marks the image corrupt for that.
    return cluster > 0 && kept.overlap(start, start + geometry.clusterSize) === null;
  };
  const rest: Run[] = [];
  for (const { cluster, count } of unusedRuns(image, target, blocks)) {
    for (let at = cluster; at < cluster + count; at = plus(at, 1)) {
      if (anew.has(refcounts.indexOf(at)) && isSound(at)) target.deltas.add(at, 1, -1);
      else rest.push({ cluster: at, count: 1 });
    }
  }
  return rest;
}

function unusedRuns(image: Qcow2Image, target: Target, blocks: readonly number[]): Run[] {
  const { geometry, mapping, refcounts, snapshots, header } = image;
  const runs: Run[] = [...target.unused];
  const add = (offset: HostOffset, bytes: number): void => {
    const count = offset === 0 ? 0 : Math.ceil(bytes / geometry.clusterSize);
    if (count > 0) runs.push({ cluster: clusterAt(offset, geometry), count });
  };
  add(snapshots.offset, snapshots.bytes);
  if (blocks.length > 0) add(refcounts.table.offset, refcounts.table.entries * POINTER_BYTES);
  for (const index of blocks) add(refcounts.table.target(index), geometry.clusterSize);
  if (target.oldTables === 'unused') {
    if (target.l1 !== null) add(header.l1TableOffset, header.l1Size * POINTER_BYTES);
    for (const index of target.moved) add(pointerTarget(mapping.l1.view, index), geometry.clusterSize);
  }
  return runs;
}

/** Where the metadata lies that is not replaced, and is not new. */
function keptMetadata(image: Qcow2Image, target: Target, blocks: readonly number[]): MetadataIndex {
  const { mapping, refcounts, snapshots } = image;
  const kept = new MetadataIndex(image.geometry, KEPT);
  image.fillIndex(kept);
  const drop = (kind: OverlapKind, owner: object): void => kept.setFixed(kind, owner, 0 as HostOffset, 0);
  drop('snapshot-table', snapshots);
  for (const one of snapshots.list) if (!target.snapshots.includes(one)) drop('inactive-l1', one);
  if (blocks.length > 0) drop('refcount-table', refcounts.table);
  for (const index of blocks) kept.remove('refcount-block', refcounts.table.target(index));
  if (target.oldTables === 'unused') {
    if (target.l1 !== null) drop('active-l1', mapping.l1);
    for (const index of target.moved) kept.remove('active-l2', mapping.l1.target(index));
  }
  return kept;
}
