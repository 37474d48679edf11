// What there is to know of an image without reading its data, and what its driver adds to that (`Abilities.details`).

import type { ImageInfo } from '../schema/generated/types.js';
import { resolveBackingNameOf } from './filename.js';
import { formatOf } from './node/format.js';
import type { BlockNode } from './node/node.js';

/** QAPI `ImageInfo` of one node (without `backing-image`). */
export async function imageInfo(node: BlockNode): Promise<ImageInfo> {
  const details = node.abilities.details?.();
  const actual = await node.allocatedBytes();
  const info: ImageInfo = {
    filename: node.filename,
    format: node.driver,
    'virtual-size': node.length,
  };
  if (details !== undefined) info['dirty-flag'] = details.dirty ?? false;
  if (actual !== null) info['actual-size'] = actual;
  if (details?.clusterSize !== undefined) info['cluster-size'] = details.clusterSize;
  if (details?.encrypted) info.encrypted = true;
  // A filter has no header of its own.
  const { backingFile = null, backingFormat = null } = (node.kind === 'filter' ? null : formatOf(node)) ?? {};
  if (backingFile !== null) {
    info['backing-filename'] = backingFile;
    info['full-backing-filename'] = resolveBackingNameOf(node, backingFile);
    if (backingFormat !== null) info['backing-filename-format'] = backingFormat;
  }
  const snapshots = node.abilities.snapshots?.list() ?? [];
  if (snapshots.length > 0) info.snapshots = snapshots;
  if (details?.specific !== undefined) info['format-specific'] = details.specific;
  return info;
}
