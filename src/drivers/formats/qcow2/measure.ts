// How large a qcow2 image becomes, before there is one: what `qemu-img measure` says.
//
//   | header | refcounts | L1 | L2 tables for all of the disk | LUKS header |   + data: the source's, or all of the disk's
//
// Tables are counted as for a disk that is full, so that the image has room for them wherever data lies.

import type { MeasureRequest } from '../../../block/measure.js';
import type { BlockMeasureInfo } from '../../../schema/generated/types.js';
import { BlockError } from '../../../util/errors.js';
import { directoryBytes } from './bitmap-directory.js';
import { geometryFor, type Qcow2CreateOptions, refcountClustersFor } from './create-plan.js';
import { POINTER_BYTES } from './pointer-codec.js';
import { MAX_L1_BYTES } from './types.js';

/**
 * `options`: those of the image, with the room for a LUKS header. Rejects with `invalid-argument`, `limit`, and as the block status of the source.
 */
export async function measureQcow2(
  options: Qcow2CreateOptions,
  { source }: Pick<MeasureRequest, 'source'>,
): Promise<BlockMeasureInfo> {
  const geometry = geometryFor(options, '', true);
  const { clusterSize, version } = geometry;
  if (version === 2 && (options.refcountBits ?? 16) !== 16) {
    const message =
      'Different refcount widths than 16 bits require compatibility level 1.1 or above (use compat=1.1 or greater)';
    throw new BlockError('invalid-argument', message);
  }
  const clusters = Math.ceil(options.size / clusterSize);
  const tables = Math.ceil(clusters / geometry.l2Entries);
  if (tables * POINTER_BYTES > MAX_L1_BYTES) {
    throw new BlockError('limit', 'The image size is too large (try using a larger cluster size)');
  }
  const l1Clusters = Math.ceil((tables * POINTER_BYTES) / clusterSize);
  const crypt = Math.ceil((options.encryption?.room ?? 0) / clusterSize);
  const rest = 1 + l1Clusters + tables;
  const { tableClusters, blocks } = refcountClustersFor(geometry, rest + clusters);
  const meta = rest + tableClusters + blocks + crypt;
  const data = await dataClusters(options, source, clusters, clusterSize);
  const bitmaps = source?.bitmaps;
  return {
    required: (meta + data) * clusterSize,
    'fully-allocated': (meta + clusters) * clusterSize,
    ...(bitmaps && version > 2 && { bitmaps: bitmapClusters(bitmaps, clusterSize) * clusterSize }),
  };
}

/** Clusters of data that the image has at first. */
async function dataClusters(
  { preallocation = 'off', backingFile = null }: Qcow2CreateOptions,
  source: MeasureRequest['source'],
  all: number,
  clusterSize: number,
): Promise<number> {
  if (preallocation === 'full' || preallocation === 'falloc') return all;
  if (source === null) return 0;
  // What the backing file has is not known, so anything may differ from it.
  return backingFile !== null ? all : source.clustersWithData(clusterSize);
}

/** Clusters of the bitmaps' bits, each with a table, and of their directory. */
function bitmapClusters(bitmaps: NonNullable<MeasureRequest['source']>['bitmaps'], clusterSize: number): number {
  if (bitmaps === null || bitmaps.length === 0) return 0;
  let clusters = 0;
  for (const { size, granularity } of bitmaps) {
    const bits = Math.ceil(Math.ceil(size / granularity) / 8 / clusterSize);
    clusters += bits + Math.ceil((bits * POINTER_BYTES) / clusterSize);
  }
  const names = bitmaps.map(({ name = '' }) => ({ name, extra: new Uint8Array(0) }));
  return clusters + Math.ceil(directoryBytes(names) / clusterSize);
}
