// Members that `query-block` and `query-named-block-nodes` had in 2.1, and have no more today. With `--compat 2.1` they are there besides all others.

import { skipImplicit } from '../block/chain.js';
import { bitmapInfo } from '../block/node-info.js';
import type { BlockDeviceInfo, BlockInfo } from '../schema/generated/types.js';
import type { QmpContext } from './context.js';

export function nodeOf21(info: BlockDeviceInfo): BlockDeviceInfo {
  // Without its key, an image is not opened.
  return { ...info, encryption_key_missing: false };
}

/** In 2.1 no bitmap had a name: all were those of jobs. A device's job has its name. */
export function deviceOf21({ graph, manager }: QmpContext, info: BlockInfo): BlockInfo {
  const root = graph.devices.get(info.device)?.node;
  const own = root === undefined ? [] : [...skipImplicit(root).bitmaps.values()];
  const ofJobs = manager
    .list()
    .flatMap(({ id, dirtyBitmap }) => (id === info.device && dirtyBitmap ? [dirtyBitmap] : []));
  const bitmaps = [...ofJobs, ...own].map(bitmapInfo);
  return {
    ...info,
    ...(info.inserted !== undefined && { inserted: nodeOf21(info.inserted) }),
    ...(bitmaps.length > 0 && { 'dirty-bitmaps': bitmaps }),
  };
}
