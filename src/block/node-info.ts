// What `query-named-block-nodes` says of a node (QAPI `BlockDeviceInfo`).

import type { BlockDeviceInfo, BlockDirtyInfo, ImageInfo } from '../schema/generated/types.js';
import type { DirtyBitmap } from './bitmap.js';
import { backingOf, chainOf } from './chain.js';
import { imageInfo } from './info.js';
import type { BlockNode } from './node/node.js';

/** `flat`: without the images of the backing nodes. */
export async function nodeInfo(node: BlockNode, flat: boolean): Promise<BlockDeviceInfo> {
  const depth = chainOf(node).length - 1;
  const bitmaps = [...node.bitmaps.values()]
    .filter(({ name }) => name !== undefined)
    .map(bitmapInfo)
    .reverse();
  const below = backingOf(node);
  return {
    iops_rd: 0,
    detect_zeroes: node.detectZeroes,
    image: await (flat ? imageInfo(node) : chainInfo(node)),
    iops_wr: 0,
    ro: node.readOnly,
    'node-name': node.nodeName,
    // QEMU counts only the layers that it lists.
    backing_file_depth: flat ? 0 : depth,
    drv: node.driver,
    iops: 0,
    bps_wr: 0,
    write_threshold: 0,
    encrypted: false,
    bps: 0,
    bps_rd: 0,
    cache: { 'no-flush': node.cache.noFlush, direct: node.cache.direct, writeback: true },
    file: node.filename,
    ...(below !== null && { backing_file: below.filename }),
    ...(bitmaps.length > 0 && { 'dirty-bitmaps': bitmaps }),
  };
}

/** The image with those of its backing nodes in it. */
async function chainInfo(node: BlockNode): Promise<ImageInfo> {
  const info = await imageInfo(node);
  const below = backingOf(node);
  if (below !== null) info['backing-image'] = await chainInfo(below);
  return info;
}

function bitmapInfo(bitmap: DirtyBitmap): BlockDirtyInfo {
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
