// What `query-named-block-nodes` says of a node (QAPI `BlockDeviceInfo`).

import type { BlockDeviceInfo, BlockDirtyInfo, ImageInfo, ThrottleLimits } from '../schema/generated/types.js';
import type { DirtyBitmap } from './bitmap.js';
import { cowChild, filteredChild } from './chain.js';
import { imageInfo } from './info.js';
import type { BlockNode } from './node/node.js';
import { DEFAULT_BURST_SECONDS, LIMITS } from './throttle-names.js';

/** Limits of a device, by the names of QAPI's `ThrottleLimits`. */
export interface DeviceLimits {
  group: string;
  limits: ThrottleLimits;
}

/** The members of `BlockDeviceInfo` that are about limits. */
export function limitsInfo({ group, limits }: DeviceLimits): Partial<BlockDeviceInfo> {
  const info: Record<string, number | string> = { group };
  for (const { name, old, part, burst } of LIMITS) {
    if (part === 'average') info[old] = limits[name] ?? 0;
    else if (limits[burst ?? name]) info[old] = limits[name] ?? DEFAULT_BURST_SECONDS;
  }
  return info;
}

/** `flat`: without the images of the backing nodes. */
export async function nodeInfo(node: BlockNode, flat: boolean): Promise<BlockDeviceInfo> {
  const bitmaps = [...node.bitmaps.values()]
    .filter(({ name }) => name !== undefined)
    .map(bitmapInfo)
    .reverse();
  const backing = cowChild(node)?.node ?? null;
  return {
    iops_rd: 0,
    detect_zeroes: node.detectZeroes,
    image: await (flat ? imageInfo(node) : chainInfo(node)),
    iops_wr: 0,
    ro: node.readOnly,
    'node-name': node.nodeName,
    // QEMU counts only the layers that it lists.
    backing_file_depth: flat ? 0 : depthOf(node),
    drv: node.driver,
    iops: 0,
    bps_wr: 0,
    write_threshold: node.writeThreshold,
    encrypted: node.abilities.details?.().encrypted ?? false,
    bps: 0,
    bps_rd: 0,
    cache: { 'no-flush': node.cache.noFlush, direct: node.cache.direct, writeback: true },
    file: node.filename,
    ...(backing !== null && { backing_file: backing.filename }),
    ...(bitmaps.length > 0 && { 'dirty-bitmaps': bitmaps }),
  };
}

/** The next layer of a chain in which a filter counts as a layer; null for the last one. */
function layerBelow(node: BlockNode): BlockNode | null {
  return (filteredChild(node) ?? cowChild(node))?.node ?? null;
}

function depthOf(node: BlockNode): number {
  const below = layerBelow(node);
  return below === null ? 0 : 1 + depthOf(below);
}

/** The image with those of the layers below in it. */
async function chainInfo(node: BlockNode): Promise<ImageInfo> {
  const info = await imageInfo(node);
  const below = layerBelow(node);
  if (below !== null) info['backing-image'] = await chainInfo(below);
  return info;
}

/** What is told of a bitmap. */
export function bitmapInfo(bitmap: DirtyBitmap): BlockDirtyInfo {
  const { name, granularity, recording, busy, persistent, inconsistent } = bitmap;
  return {
    name,
    count: bitmap.dirtyBytes,
    granularity,
    recording,
    busy,
    persistent,
    ...(inconsistent && { inconsistent }),
  };
}
