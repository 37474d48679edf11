// The driver definition of qcow2: how an image is recognised, opened and created.

import { type Child, withLink } from '../../../block/child.js';
import type { Graph } from '../../../block/graph.js';
import { openBacking } from '../../../block/node/format.js';
import type { BlockNode, NodeOptions } from '../../../block/node/node.js';
import type { CreateRequest, DriverDefinition, OpenRequest } from '../../../block/registry.js';
import { ROLES } from '../../../block/roles.js';
import { PERM_ALL, Perm } from '../../../block/types.js';
import { missingChild } from '../../../schema/loose-options.js';
import { BlockError } from '../../../util/errors.js';
import { createQcow2 } from './create.js';
import { QCOW2_CREATE_OPTIONS } from './create-options.js';
import { planQcow2, type Qcow2CreateOptions } from './create-plan.js';
import { Qcow2Node } from './driver.js';
import { checkFeatures } from './features.js';
import { Field, hasQcow2Magic, parseHeader, parseHeaderArea } from './header.js';
import { QCOW2_DETAIL_ORDER } from './info.js';
import { checkOptions, type DriverOptions, QCOW2_USE_OPTIONS } from './options.js';
import { type HostOffset, makeGeometry } from './types.js';

/** Reads the header with its extensions, which may take a whole cluster. Nearly always the first 64 KiB have all of it. */
async function readHeader(file: Child): Promise<Uint8Array> {
  const head = await readUpTo(file, 1 << 16);
  const clusterBits = hasQcow2Magic(head) && head.length > 24 ? head[23] : 0;
  return clusterBits > 16 && clusterBits <= 21 ? readUpTo(file, 2 ** clusterBits) : head;
}

/** The first `length` bytes of the file, or as many as it has. */
async function readUpTo(file: Child, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(Math.min(length, file.length));
  if (bytes.length > 0) await file.read(0, bytes);
  return bytes;
}

/**
 * Opens the image in `file`. The node is not in the graph yet. Rejects with `invalid-image`, `unsupported` (a feature, by name),
 * `corrupt-image`, `io`.
 */
async function openQcow2(
  graph: Graph,
  node: NodeOptions,
  file: BlockNode,
  own: DriverOptions = {},
  { use = { readOnly: node.readOnly, forceShare: false }, onlyHeader = false } = {},
): Promise<Qcow2Node> {
  const path = file.filename;
  const head = await withLink(
    file,
    { user: { userName: `node '${node.nodeName}'` }, role: 'root', perm: Perm.CONSISTENT_READ, shared: PERM_ALL },
    readHeader,
  );
  const header = parseHeader(head, path);
  const clusterSize = 2 ** header.clusterBits;
  const area = parseHeaderArea(head.subarray(0, clusterSize), header, path);
  checkFeatures(area, path, !node.readOnly, onlyHeader);
  checkExtent(file, header.l1TableOffset, header.l1Size * 8, 'Active L1 table');
  checkExtent(file, header.refcountTableOffset, 1, 'Reference count table');
  checkOptions(own, makeGeometry(header.version, header.clusterBits, header.refcountOrder), path);
  const opened = new Qcow2Node(graph, node, own, file, area, head, ROLES.image.permissions(use));
  try {
    await opened.load();
  } catch (error) {
    opened.removeChild('file');
    throw error;
  }
  return opened;
}

/** A table must begin within the file (its end may be missing: zeroes that were never written). */
function checkExtent(file: BlockNode, offset: HostOffset, length: number, what: string): void {
  if (length === 0 || offset < file.length) return;
  throw BlockError.at(file.filename, 'invalid-image', `${what} is outside of the file`, { offset, operation: 'open' });
}

function needFile<T>(file: T | null): T {
  if (file === null) throw missingChild('file');
  return file;
}

async function create({ options, file }: CreateRequest<'qcow2'>): Promise<void> {
  await createQcow2(needFile(file), createOptions(options));
}

function createOptions(options: CreateRequest<'qcow2'>['options']): Qcow2CreateOptions {
  return {
    size: options.size,
    compat: options.version,
    clusterSize: options['cluster-size'],
    refcountBits: options['refcount-bits'],
    backingFile: options['backing-file'],
    backingFormat: options['backing-fmt'],
    compressionType: options['compression-type'],
    preallocation: options.preallocation,
  };
}

/** Version 1 is the format qcow. All others score as qcow2, so that opening an image of a later version fails with a message that names it. */
function probeQcow2(head: Uint8Array): number {
  return hasQcow2Magic(head) && new DataView(head.buffer, head.byteOffset).getUint32(Field.version) >= 2 ? 100 : 0;
}

export const qcow2Driver: DriverDefinition<'qcow2'> = {
  name: 'qcow2',
  kind: 'format',
  hasBacking: true,
  defaultFor: 'overlay',
  compresses: true,
  foreignOptions: { use: QCOW2_USE_OPTIONS },
  changeable: QCOW2_USE_OPTIONS,
  createOptions: QCOW2_CREATE_OPTIONS,
  detailOrder: QCOW2_DETAIL_ORDER,
  probe: probeQcow2,
  open: async (request: OpenRequest<'qcow2'>) => {
    const { graph, node, options, use, withBacking } = request;
    const file = await request.openChild('file', null, 'image');
    const image = await openQcow2(graph, node, file, options, { use, onlyHeader: !withBacking && node.readOnly });
    await openBacking(request, image);
    return image;
  },
  checkCreate: (options, path, host) => {
    planQcow2(path, createOptions(options));
    if (options['compression-type'] === 'zstd' && host?.codecs.supports('zstd') === false) {
      throw BlockError.at(path, 'unsupported', 'this build of diskwright has no zstd', { operation: 'create' });
    }
  },
  create,
};
