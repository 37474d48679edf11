// Makes a Parallels image.

import { makeRoom, removeContent } from '../../../block/create.js';
import { type CreateOptions, SIZE_OPTION } from '../../../block/create-option.js';
import type { MeasureRequest } from '../../../block/measure.js';
import type { CreateRequest } from '../../../block/registry.js';
import type { BlockMeasureInfo } from '../../../schema/generated/types.js';
import { missingChild } from '../../../schema/loose-options.js';
import { BlockError } from '../../../util/errors.js';
import { roundUp, SECTOR_BYTES } from '../../../util/numbers.js';
import { encodeHeader, type Header, MAX_ENTRIES, newHeader, tableEnd } from './header.js';

type ParallelsCreateOptions = CreateRequest<'parallels'>['options'];

const DEFAULT_CLUSTER_BYTES = 1 << 20;
/** As QEMU's. */
const MAX_CLUSTER_BYTES = 0x7fff_fe00;

export const PARALLELS_CREATE_OPTIONS: CreateOptions = {
  options: [
    { name: 'cluster_size', kind: 'size', help: 'Parallels image cluster size', member: 'cluster-size' },
    SIZE_OPTION,
  ],
  summary: [['size'], ['cluster_size', String(DEFAULT_CLUSTER_BYTES)]],
};

/** Throws `limit`; `path` is for messages. */
export function checkParallelsCreate(options: ParallelsCreateOptions, path: string): void {
  planOf(options, path);
}

function planOf({ size, 'cluster-size': asked = DEFAULT_CLUSTER_BYTES }: ParallelsCreateOptions, path: string): Header {
  const fail = (reason: string): never => {
    throw BlockError.at(path, 'limit', reason, { operation: 'create' });
  };
  const clusterBytes = roundUp(asked, SECTOR_BYTES);
  if (clusterBytes > MAX_CLUSTER_BYTES) fail('Cluster size is too large');
  if (clusterBytes === 0 || size / clusterBytes > MAX_ENTRIES) fail('Image size is too large for this cluster size');
  const header = newHeader(size, clusterBytes);
  // The places of all clusters are numbers of 32 bits, in clusters.
  if (!Number.isSafeInteger(header.size)) fail('Image size is too large for this cluster size');
  return header;
}

/** Makes an image in `file`. Rejects with `no-space`, `io`, and as `checkParallelsCreate`. */
export async function createParallels({ options, file }: CreateRequest<'parallels'>): Promise<void> {
  if (file === null) throw missingChild('file');
  const header = planOf(options, file.filename);
  await removeContent(file);
  await makeRoom(file, header.dataOffset, tableEnd(header.entries));
  await file.flush();
  const sector = new Uint8Array(SECTOR_BYTES);
  sector.set(encodeHeader(header));
  await file.write(0, sector);
  await file.flush();
}

/** Of an image with the content of `source`. Rejects as `checkParallelsCreate`, and as the block status of the source. */
export async function measureParallels({ options, source }: MeasureRequest<'parallels'>): Promise<BlockMeasureInfo> {
  const { dataOffset, entries, clusterBytes } = planOf(options, '');
  const used = (await source?.clustersWithData(clusterBytes)) ?? 0;
  return { required: dataOffset + used * clusterBytes, 'fully-allocated': dataOffset + entries * clusterBytes };
}
