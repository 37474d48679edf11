// An entry of the conformance suite: how an image of a driver is made and opened, and what the driver claims.

import { createImage, createNode } from '../../src/block/create.js';
import { Graph } from '../../src/block/graph.js';
import type { BlockNode } from '../../src/block/node/node.js';
import { type OpenOptions, openNode } from '../../src/block/open.js';
import { registerDrivers } from '../../src/drivers/index.js';
import type { BlockdevOptions } from '../../src/schema/generated/types.js';
import { BlockError } from '../../src/util/errors.js';
import { used } from '../drivers/support.js';
import type { Place } from './place.js';

export interface Capabilities {
  /** Files that each have the whole content. */
  copies: number;
  /** What is written can be read back. Without it, reads give zeroes. */
  keeps: boolean;
  /** Bytes that a size is a multiple of; 0 where the size cannot be changed. */
  truncate: number;
  /** The size can become smaller, too. */
  shrinks: boolean;
  backing: boolean;
  /** The name of the backing file in its header can be changed. */
  renamesBacking: boolean;
  /** Tells zeroes that were written from data (where the disk below does). */
  zeroStatus: boolean;
  locate: boolean;
  /** Cluster size of compressed writes; 0 where there are none. */
  compressed: number;
  /** Compressed writes are taken, and what they write lies there as it is. */
  compressedPlain: boolean;
  reopen: boolean;
  /** Can be opened read-only. */
  readOnly: boolean;
  /** All content of the layer can be dropped. */
  makeEmpty: boolean;
  /** An image that was not closed is opened for writing; otherwise it is read, and repaired first. */
  opensUnclosed: boolean;
}

/** An image that is open. */
export interface Subject {
  graph: Graph;
  node: BlockNode;
  /** What a guest sees of the image when it is new. */
  fresh: Uint8Array;
  /** What comes from below where this layer has nothing; all zeroes without a backing node. */
  below: Uint8Array;
}

export interface DriverEntry {
  name: string;
  capabilities: Capabilities;
  /** Virtual size that suits it, bytes. */
  size: number;
  /** Name of the file that the content lies in. */
  content: string;
  /** Also run on the real host. */
  real: boolean;
  /** Run on the simulated host, which has no sockets. */
  simulated: boolean;
  /** What it claims otherwise where its file is a block device; null where that cannot be, as a device has a size of its own. */
  onDevice: Partial<Capabilities> | null;
  /** Makes the image and opens it for reading and writing. */
  make(place: Place): Promise<Subject>;
  /** Opens what `make` made once more, on `place`. */
  open(place: Place, options?: OpenOptions): Promise<BlockNode>;
}

const NOTHING: Capabilities = {
  copies: 1,
  keeps: true,
  truncate: 0,
  shrinks: true,
  backing: false,
  renamesBacking: true,
  zeroStatus: true,
  locate: true,
  compressed: 0,
  compressedPlain: false,
  reopen: true,
  readOnly: true,
  makeEmpty: false,
  opensUnclosed: true,
};

/** Bytes of the backing image: data, a hole, data; never zero where they are data. */
function backingContent(size: number): Uint8Array {
  const known = backingContents.get(size);
  if (known !== undefined) return known.slice();
  const bytes = new Uint8Array(size);
  for (let i = 0; i < size; i++) {
    if (i < size / 3 || i > (2 * size) / 3) bytes[i] = 1 + ((i * 11 + (i >> 9)) % 255);
  }
  backingContents.set(size, bytes);
  return bytes.slice();
}

/** By size. Thousands of tests use the same few. */
const backingContents = new Map<number, Uint8Array>();

function opener(optionsOf: (place: Place) => BlockdevOptions): DriverEntry['open'] {
  return (place, options = {}) => {
    registerDrivers();
    return used(openNode(new Graph(place.host), optionsOf(place), { discard: 'unmap', ...options }));
  };
}

export function entry(
  name: string,
  size: number,
  capabilities: Partial<Capabilities>,
  create: (place: Place, graph: Graph) => Promise<Uint8Array>,
  optionsOf: (place: Place) => BlockdevOptions,
  real = true,
): DriverEntry {
  const open = opener(optionsOf);
  return {
    name,
    size,
    content: 'a',
    real,
    simulated: true,
    onDevice: {},
    capabilities: { ...NOTHING, ...capabilities },
    async make(place) {
      registerDrivers();
      const below = await create(place, new Graph(place.host));
      const node = await open(place);
      return { graph: node.graph, node, fresh: below.slice(), below };
    },
    open,
  };
}

export const plainFile = (place: Place): BlockdevOptions => ({ driver: place.disk, filename: place.path('a') });

export async function makePlain(place: Place, graph: Graph, size: number): Promise<void> {
  // A device is there.
  if (place.disk === 'host_device') return;
  await createNode(graph, { driver: 'file', filename: place.path('a'), size });
}

export const SIZE = 256 * 1024 + 512;

/** Resolves with what of it a guest of the overlay can see. */
export async function makeBacking(
  place: Place,
  graph: Graph,
  size: number,
  { format, percent }: { format: 'raw' | 'qcow2'; percent: number },
): Promise<Uint8Array> {
  const bytes = Math.floor((size * percent) / 100 / 512) * 512;
  const path = place.path('base');
  await createImage(graph, path, { driver: format, size: bytes });
  const node = await used(openNode(graph, path, { format }));
  const content = backingContent(bytes);
  const edges = [0, Math.floor(bytes / 3), Math.ceil((2 * bytes) / 3), bytes];
  await node.write(0, content.subarray(0, edges[1]));
  await node.write(edges[2], content.subarray(edges[2]));
  content.fill(0, edges[1], edges[2]);
  await graph.closeAll();
  return content.subarray(0, Math.min(size, bytes));
}

/** The code of what `promise` rejects with; `resolved` where it does not. */
export async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof BlockError) return error.code;
    throw error;
  }
  return 'resolved';
}
