// The driver definition of qcow2: how an image is recognised, opened and created.

import { chainOf } from '../../../block/chain.js';
import type { Child } from '../../../block/child.js';
import { isPath, openingName, resolveBackingNameOf } from '../../../block/filename.js';
import type { Graph } from '../../../block/graph.js';
import { fileId, fileIds } from '../../../block/identity.js';
import { openBacking } from '../../../block/node/format.js';
import type { BlockNode } from '../../../block/node/node.js';
import type { CreateRequest, DriverDefinition, OpenChild, OpenRequest } from '../../../block/registry.js';
import { ROLES } from '../../../block/roles.js';
import { openByHead, readUpTo } from '../../../block/stale.js';
import { missingChild } from '../../../schema/loose-options.js';
import { isJsonFilename } from '../../../schema/options.js';
import { bestEffort } from '../../../util/best-effort.js';
import { BlockError } from '../../../util/errors.js';
import { checkPassword, withPassword } from '../encryption/password.js';
import { makeVolume, type NewVolume, roomFor } from '../luks/volume.js';
import { createQcow2 } from './create.js';
import { QCOW2_AMEND_OPTIONS, QCOW2_CREATE_OPTIONS } from './create-options.js';
import { planQcow2, type Qcow2CreateOptions } from './create-plan.js';
import { completeOptions, type ImageEncryption, openEncryption } from './crypt.js';
import { Qcow2Node } from './driver.js';
import { checkFeatures } from './features.js';
import { QCOW2_FINDING_WORDS } from './finding-words.js';
import {
  Extension,
  extensionText,
  Field,
  geometryOf,
  type HeaderArea,
  hasQcow2Magic,
  Incompatible,
  parseHeader,
  parseHeaderArea,
} from './header.js';
import { DATA_FILE } from './image-node.js';
import { QCOW2_DETAIL_ORDER } from './info.js';
import { measureQcow2 } from './measure.js';
import { checkOptions, type DriverOptions, QCOW2_USE_OPTIONS } from './options.js';
import { openSalvaged } from './salvage-open.js';
import { streamQcow2 } from './streamed.js';
import type { HostOffset } from './types.js';

/** Reads the header with its extensions, which may take a whole cluster. Nearly always the first 64 KiB have all of it. */
async function readHead(file: Child): Promise<Uint8Array> {
  const head = await readUpTo(file, 1 << 16);
  const clusterBits = hasQcow2Magic(head) && head.length > 24 ? head[23] : 0;
  return clusterBits > 16 && clusterBits <= 21 ? readUpTo(file, 2 ** clusterBits) : head;
}

/**
 * Opens the image in `file`. The node is not in the graph yet. Rejects with `invalid-image`, `unsupported` (a feature, by name),
 * `corrupt-image`, `io`.
 */
async function openQcow2(request: OpenRequest<'qcow2'>, file: BlockNode): Promise<Qcow2Node> {
  const { graph, node, options: own, use, openChild, forRepair, onlyHeader } = request;
  const path = file.filename;
  let encryption: ImageEncryption | null = null;
  try {
    const opened = await openByHead(request, file, readHead, async (head, look) => {
      const header = parseHeader(head, path, { forRepair });
      const clusterSize = 2 ** header.clusterBits;
      const area = parseHeaderArea(head.subarray(0, clusterSize), header, path);
      checkFeatures(area, path, !node.readOnly && !forRepair, onlyHeader);
      checkExtent(file, header.l1TableOffset, header.l1Size * 8, 'Active L1 table');
      checkExtent(file, header.refcountTableOffset, 1, 'Reference count table');
      checkOptions(own, geometryOf(header), path);
      const dataFile = onlyHeader ? null : await openDataFile(openChild, file, area, own);
      encryption = await look((link) => openEncryption(graph, link, area, own, onlyHeader));
      const permissions = ROLES.image.permissions(use);
      return new Qcow2Node(graph, node, own, file, dataFile, encryption, area, head, permissions);
    });
    await opened.load(forRepair);
    return opened;
  } catch (error) {
    // The variable is set by a callback, which the compiler does not follow.
    (encryption as ImageEncryption | null)?.content.cipher?.close();
    throw error;
  }
}

/**
 * Opens the external data file, as the options or the header name it; null where the image has none. Rejects with `invalid-argument` where it has one and
 * nobody names it, or the other way round, and with `locked` where it is the image itself.
 */
async function openDataFile(
  openChild: OpenChild,
  file: BlockNode,
  { header, extensions }: HeaderArea,
  own: DriverOptions,
): Promise<BlockNode | null> {
  const refuse = (code: 'invalid-argument' | 'locked', message: string): BlockError =>
    BlockError.at(file.filename, code, message, { operation: 'open' });
  const isWanted = own[DATA_FILE] !== undefined && own[DATA_FILE] !== null;
  if ((header.incompatibleFeatures & Incompatible.dataFile) === 0n) {
    if (isWanted) throw refuse('invalid-argument', "'data-file' can only be set for images with an external data file");
    return null;
  }
  const filename = extensionText(extensions, Extension.dataFile);
  const opened = await openChild(DATA_FILE, { image: file, filename, format: null }, 'data');
  if (opened === null) throw refuse('invalid-argument', "'data-file' is required for this image");
  const [image, content] = await Promise.all([fileId(file), fileId(opened)]);
  if (content !== null && image === content)
    throw refuse('locked', `The data file '${opened.filename}' is the image itself`);
  return opened;
}

/** A table must begin within the file (its end may be missing: zeroes that were never written). */
function checkExtent(file: BlockNode, offset: HostOffset, length: number, what: string): void {
  if (length === 0 || offset < file.length) return;
  throw BlockError.at(file.filename, 'invalid-image', `${what} is outside of the file`, { offset, operation: 'open' });
}

/** Closes `image`, and rejects with `locked`, where it would write its content into a file of its backing chain. */
async function refuseDataBelow(image: Qcow2Node): Promise<void> {
  const dataFile = image.children.get(DATA_FILE)?.node;
  if (dataFile === undefined || image.readOnly) return;
  try {
    const id = await fileId(dataFile);
    for (const node of chainOf(image).slice(1)) {
      if (id === null || !(await fileIds(node)).includes(id)) continue;
      const message = `The data file '${dataFile.filename}' belongs to the backing file '${node.filename}'`;
      throw BlockError.at(image.filename, 'locked', message, { operation: 'open' });
    }
  } catch (error) {
    await image.close().catch(bestEffort('closing after a failed open'));
    throw error;
  }
}

function needFile<T>(file: T | null): T {
  if (file === null) throw missingChild('file');
  return file;
}

async function create({ graph, options, file, parts }: CreateRequest<'qcow2'>): Promise<void> {
  const image = needFile(file);
  const dataFile = parts.get(DATA_FILE) ?? null;
  const name = dataFile === null ? undefined : dataFileName(image.node, dataFile.node);
  const path = image.filename;
  const planned = createOptions(options, path, name);
  planQcow2(path, planned);
  checkSecret(options, path, graph);
  await createQcow2(image, dataFile, planned, await newVolume(graph, options, path));
}

/**
 * The name by which `image` finds its data file. A relative one counts from the folder of the image here, and from the current one where QEMU opens it: it
 * is written only where both are the same.
 */
function dataFileName(image: BlockNode, dataFile: BlockNode): string {
  const { host } = image;
  const name = openingName(dataFile);
  if (isJsonFilename(name) || !isPath(name) || name.startsWith('/')) return name;
  const besides = isJsonFilename(image.filename) ? null : resolveBackingNameOf(image, name);
  return besides !== null && host.absolute(besides) === host.absolute(name) ? name : host.absolute(name);
}

type CreateMembers = CreateRequest<'qcow2'>['options'];

/** Throws `invalid-argument`, `not-found` where the password of an encrypted image is not there. */
function checkSecret({ encrypt }: CreateMembers, path: string, graph: Graph): void {
  if (encrypt !== undefined) checkPassword(graph, encrypt['key-secret'], 'encrypt.key-secret', path);
}

/** The LUKS header of a new image; null where it has none. Rejects as `makeVolume`. */
async function newVolume(graph: Graph, { encrypt }: CreateMembers, path: string): Promise<NewVolume | null> {
  if (encrypt?.format !== 'luks') return null;
  return withPassword(graph, encrypt['key-secret'], 'encrypt.key-secret', path, (password) =>
    makeVolume(graph.host.ciphers, encrypt, password, path),
  );
}

/** `dataFile`: the name of the external data file, where that is open already. Throws as `roomFor`. */
function createOptions(options: CreateMembers, path: string, dataFile?: string): Qcow2CreateOptions {
  const { encrypt } = options;
  return {
    dataFile: options[DATA_FILE] === undefined ? null : (dataFile ?? ''),
    dataFileRaw: options['data-file-raw'],
    size: options.size,
    compat: options.version,
    clusterSize: options['cluster-size'],
    refcountBits: options['refcount-bits'],
    lazyRefcounts: options['lazy-refcounts'],
    backingFile: options['backing-file'],
    backingFormat: options['backing-fmt'],
    compressionType: options['compression-type'],
    preallocation: options.preallocation,
    extendedL2: options['extended-l2'],
    encryption:
      encrypt === undefined
        ? null
        : encrypt.format === 'luks'
          ? { format: 'luks', room: roomFor(encrypt, path) }
          : { format: 'aes', room: 0 },
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
  resizes: true,
  storesBitmaps: ({ version }) => version !== 'v2',
  get foreignOptions() {
    return { place: [DATA_FILE], use: QCOW2_USE_OPTIONS };
  },
  get changeable() {
    return QCOW2_USE_OPTIONS;
  },
  get parts() {
    return { [DATA_FILE]: 'data file' };
  },
  get createOptions() {
    return QCOW2_CREATE_OPTIONS;
  },
  get amendOptions() {
    return QCOW2_AMEND_OPTIONS;
  },
  get detailOrder() {
    return QCOW2_DETAIL_ORDER;
  },
  get findingWords() {
    return QCOW2_FINDING_WORDS;
  },
  slotChange: ({ encrypt }) => encrypt,
  clusterMember: 'cluster-size',
  probe: probeQcow2,
  salvages: true,
  open: async (request: OpenRequest<'qcow2'>) => {
    if (request.salvage !== null) return openSalvaged(request, request.salvage);
    const file = await request.openChild('file', null, 'image');
    const image = await openQcow2(request, file);
    await openBacking(request, image);
    await refuseDataBelow(image);
    return image;
  },
  checkCreate: (options, path, graph) => {
    planQcow2(path, createOptions(options, path));
    if (graph !== undefined) checkSecret(options, path, graph);
    const { 'compression-type': type = 'zlib' } = options;
    if (graph !== undefined && graph.host.codecs.missing(type) !== null) {
      throw BlockError.at(path, 'unsupported', `this build of diskwright has no ${type}`, { operation: 'create' });
    }
  },
  streamed: (options, path) => streamQcow2(path, createOptions(options, path)),
  openWith: ({ encrypt }) => {
    if (encrypt === undefined) return {};
    const format = encrypt.format === 'luks' ? 'luks' : 'aes';
    return { encrypt: { format, 'key-secret': encrypt['key-secret'] } };
  },
  measure: async ({ graph, options, source }) => {
    // As qemu-img: the older encryption takes no room.
    if (options.encrypt?.format === 'luks') checkSecret(options, '', graph);
    return measureQcow2(createOptions(options, ''), { source });
  },
  complete: (options, parts) => completeOptions(options, parts),
  create,
};
