// Makes a QED image: a header, and an L1 table that is empty.

import { MAX_BACKING_NAME_BYTES } from '../../../block/backing-name.js';
import { makeRoom, removeContent } from '../../../block/create.js';
import { type CreateOptions, SIZE_OPTION } from '../../../block/create-option.js';
import type { CreateRequest } from '../../../block/registry.js';
import { missingChild } from '../../../schema/loose-options.js';
import { BlockError } from '../../../util/errors.js';
import { encodeName } from '../../../util/name-bytes.js';
import { roundUp, SECTOR_BYTES } from '../../../util/numbers.js';
import {
  Feature,
  HEADER_BYTES,
  type Header,
  isClusterSize,
  isTableSize,
  MAX_CLUSTER_BYTES,
  MAX_TABLE_CLUSTERS,
  MIN_CLUSTER_BYTES,
  maxDiskBytes,
  putHeader,
} from './header.js';

type QedCreateOptions = CreateRequest<'qed'>['options'];

const DEFAULT_CLUSTER_BYTES = 65536;
const DEFAULT_TABLE_CLUSTERS = 4;

export const QED_CREATE_OPTIONS: CreateOptions = {
  options: [
    { name: 'backing_file', kind: 'str', help: 'File name of a base image', member: 'backing-file' },
    { name: 'backing_fmt', kind: 'str', help: 'Image format of the base image', member: 'backing-fmt' },
    { name: 'cluster_size', kind: 'size', help: 'Cluster size (in bytes)', member: 'cluster-size' },
    SIZE_OPTION,
    { name: 'table_size', kind: 'size', help: 'L1/L2 table size (in clusters)', member: 'table-size' },
  ],
  summary: [
    ['size'],
    ['backing_file'],
    ['backing_fmt'],
    ['cluster_size', String(DEFAULT_CLUSTER_BYTES)],
    ['table_size'],
  ],
};

/** What an image that is made with these options has. Throws `invalid-argument`; `path` is for messages. */
export function planQed(options: QedCreateOptions, path: string): { header: Header; name: Uint8Array } {
  const { size, 'backing-file': backingFile, 'backing-fmt': format } = options;
  const clusterBytes = options['cluster-size'] ?? DEFAULT_CLUSTER_BYTES;
  const tableClusters = options['table-size'] ?? DEFAULT_TABLE_CLUSTERS;
  const fail = (message: string): never => {
    throw BlockError.at(path, 'invalid-argument', message, { operation: 'create' });
  };
  if (!isClusterSize(clusterBytes)) {
    fail(`QED cluster size must be within range [${MIN_CLUSTER_BYTES}, ${MAX_CLUSTER_BYTES}] and power of 2`);
  }
  if (!isTableSize(tableClusters))
    fail(`QED table size must be within range [1, ${MAX_TABLE_CLUSTERS}] and power of 2`);
  const shape = { clusterBytes, tableClusters };
  const most = maxDiskBytes(shape);
  if (roundUp(size, SECTOR_BYTES) > most) {
    fail(`QED image size must be a non-zero multiple of cluster size and less than ${most} bytes`);
  }
  const name = encodeName(backingFile ?? '');
  if (name.length > Math.min(MAX_BACKING_NAME_BYTES, clusterBytes - HEADER_BYTES)) fail('Backing file name too long');
  const hasName = name.length > 0;
  const features = hasName ? Feature.backingFile | (format === 'raw' ? Feature.backingIsRaw : 0) : 0;
  const header: Header = {
    ...shape,
    headerClusters: 1,
    features,
    autoclearFeatures: 0n,
    l1Offset: clusterBytes,
    size: roundUp(size, SECTOR_BYTES),
    backingNameOffset: hasName ? HEADER_BYTES : 0,
    backingNameBytes: name.length,
  };
  return { header, name };
}

/** Makes an image in `file`. Rejects with `invalid-argument`, `no-space`, `io`. */
export async function createQed({ options, file }: CreateRequest<'qed'>): Promise<void> {
  if (file === null) throw missingChild('file');
  const { header, name } = planQed(options, file.filename);
  const { clusterBytes, tableClusters } = header;
  await removeContent(file);
  const end = clusterBytes * (1 + tableClusters);
  await makeRoom(file, end, end);
  await file.flush();
  const head = new Uint8Array(roundUp(HEADER_BYTES + name.length, SECTOR_BYTES));
  putHeader(head, header);
  head.set(name, HEADER_BYTES);
  await file.write(0, head);
  await file.flush();
}
