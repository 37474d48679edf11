// The images of a scenario: a random chain, made on an eager host, and what a guest sees of it.
//
//   /base.raw or /l0.qcow2 <- /l1.qcow2 <- ... <- /top

import { createImage, type ImageCreateOptions } from '../../src/block/create.js';
import { Device, rootOf } from '../../src/block/device.js';
import { Graph } from '../../src/block/graph.js';
import type { BlockNode } from '../../src/block/node/node.js';
import { openNode } from '../../src/block/open.js';
import { findDriver } from '../../src/block/registry.js';
import { registerDrivers } from '../../src/drivers/index.js';
import type { Host } from '../../src/host/host.js';
import { createSimHost, type Random, type SimHost } from '../../src/host/sim/index.js';
import type { BlockdevDriver } from '../../src/schema/generated/types.js';
import type { ImageOptions } from '../../src/schema/options.js';
import { parseBlockdevOptions } from '../../src/schema/options.js';
import type { SimulatedFormat, SimulatedImage } from '../formats/fixture.js';
import { FORMATS } from '../formats/index.js';
import { encodeSectors, SECTOR } from './model.js';
import { PASSWORD } from './verify-crypt.js';

export interface Layer {
  path: string;
  /** `raw`, `qcow2`, or one that has a way of its own to be drawn (`FormatFixture.simulated`). */
  format: string;
  sectors: number;
  clusterSize: number;
  /** Of qcow2. */
  version: 'v2' | 'v3';
  refcountBits: number;
  compression: 'zlib' | 'zstd';
  encryption: 'none' | 'aes' | 'luks';
  /** Of a format that was drawn in its own way: members of the options of `create`. */
  create?: object;
}

export interface Chain {
  /** Base first. */
  layers: Layer[];
  /** What a guest sees of each layer, by sector. */
  contents: number[][];
  /** Open options of the top node. */
  options: ImageOptions;
}

export interface ChainLimits {
  format?: string;
  /** Layers below the top; default: up to two. */
  depth?: number;
  /** The top is encrypted. */
  encrypted?: boolean;
  /** The top has extended L2 entries. */
  extended?: boolean;
}

const CLUSTER_SIZES = [512, 512, 512, 1024, 1024, 2048, 4096, 16384, 65536];

/** Images of version 3 with clusters that are large enough have extended L2 entries. */
export function hasSubclusters({ version, clusterSize }: Layer): boolean {
  return version === 'v3' && clusterSize >= 16384;
}

/** How images of `format` are drawn, where that is its own way. */
export function simulatedFormat(format: string): SimulatedFormat | undefined {
  return FORMATS.find(({ name }) => name === format)?.simulated;
}

function isWithoutBacking(format: string): boolean {
  return findDriver(format).hasBacking !== true;
}

function drawnLayer(path: string, format: string, { sectors, clusterBytes, create }: SimulatedImage): Layer {
  return {
    path,
    format,
    sectors,
    clusterSize: clusterBytes,
    version: 'v2',
    refcountBits: 16,
    compression: 'zlib',
    encryption: 'none',
    create,
  };
}

export function randomLayer(random: Random, path: string, format: string): Layer {
  const clusterSize = random.pick(CLUSTER_SIZES);
  const v3 = random.chance(0.75);
  // A small refcount table that has to grow now and then: wide refcounts in small clusters.
  const large = random.chance(0.1);
  return {
    path,
    format,
    sectors: large ? random.between(4000, 10000) : random.between(40, 1500),
    clusterSize,
    version: v3 ? 'v3' : 'v2',
    refcountBits: v3 ? random.pick([16, 16, 64, 64, 1, 2, 8, 32]) : 16,
    compression: v3 && random.chance(0.3) ? 'zstd' : 'zlib',
    encryption: 'none',
  };
}

export function randomChain(random: Random, limits: ChainLimits = {}): Chain {
  registerDrivers();
  const format = limits.format ?? (random.chance(0.85) ? 'qcow2' : 'raw');
  const own = simulatedFormat(format);
  const drawn = own?.draw(random);
  const most = own?.backing === 'raw' ? 1 : Number.POSITIVE_INFINITY;
  const depth = isWithoutBacking(format) ? 0 : Math.min(most, limits.depth ?? random.pick([0, 0, 1, 1, 2]));
  const layers: Layer[] = [];
  for (let i = 0; i < depth; i++) {
    if (own?.backing === 'itself') {
      layers.push(drawnLayer(`/l${i}.${format}`, format, own.draw(random)));
      continue;
    }
    const below = own?.backing === 'raw' || (i === 0 && random.chance(0.3)) ? 'raw' : 'qcow2';
    layers.push(randomLayer(random, `/l${i}.${below}`, below));
  }
  const top =
    drawn === undefined ? randomLayer(random, `/top.${format}`, format) : drawnLayer(`/top.${format}`, format, drawn);
  if (limits.extended) Object.assign(top, { version: 'v3', clusterSize: random.pick([16384, 16384, 32768, 65536]) });
  if (limits.encrypted) top.encryption = random.pick(['aes', 'luks']);
  layers.push(top);
  if (random.chance(0.6)) for (const layer of layers) layer.sectors = layers[0].sectors;
  return { layers, contents: [], options: randomOptions(random, layers[depth]) };
}

function randomOptions(random: Random, top: Layer): ImageOptions {
  const file = { driver: 'file', filename: top.path } as const;
  const discard = random.pick(['unmap', 'ignore'] as const);
  const zeroes = random.pick(['off', 'off', 'on'] as const);
  if (top.format !== 'qcow2') {
    return parseBlockdevOptions({ driver: top.format, file, discard, 'detect-zeroes': zeroes });
  }
  const small = random.chance(0.5);
  return {
    driver: 'qcow2',
    file,
    discard,
    'detect-zeroes': zeroes,
    ...encryptOption(top),
    ...(small ? { 'l2-cache-size': 2 * top.clusterSize, 'refcount-cache-size': 4 * top.clusterSize } : {}),
  };
}

function encryptOption({ encryption }: Layer): object {
  return encryption === 'none' ? {} : { encrypt: { format: encryption, 'key-secret': SECRET } };
}

const SECRET = 'secret0';

/** A graph that has the password of the encrypted images. */
export async function graphOn(host: Host): Promise<Graph> {
  const graph = new Graph(host);
  await graph.objects.add({ 'qom-type': 'secret', id: SECRET, data: PASSWORD });
  return graph;
}

/** Makes the files of `chain` and fills in `contents`. */
export async function buildChain(chain: Chain, random: Random, nextValue: () => number): Promise<SimHost> {
  registerDrivers();
  const host = createSimHost();
  let below: number[] = [];
  for (const [index, layer] of chain.layers.entries()) {
    const graph = await graphOn(host);
    await makeImage(graph, layer, chain.layers[index - 1]);
    const content = Array.from({ length: layer.sectors }, (_, sector) => below[sector] ?? 0);
    const node = await openLayer(graph, layer);
    const device = new Device(node, { name: 'maker', writable: true });
    await fillLayer(rootOf(device).node, layer, content, random, nextValue);
    await device.close();
    await graph.closeAll();
    chain.contents.push(content);
    below = content;
  }
  return host.fork();
}

export async function makeImage(graph: Graph, layer: Layer, backing: Layer | undefined): Promise<void> {
  const size = layer.sectors * SECTOR;
  if (layer.format === 'raw') {
    await createImage(graph, layer.path, { driver: 'raw', size });
    return;
  }
  const link =
    backing === undefined ? {} : { 'backing-file': backing.path, 'backing-fmt': backing.format as BlockdevDriver };
  if (layer.create !== undefined) {
    await createImage(graph, layer.path, {
      driver: layer.format,
      size,
      ...layer.create,
      ...link,
    } as ImageCreateOptions);
    return;
  }
  await createImage(graph, layer.path, {
    driver: 'qcow2',
    size,
    version: layer.version,
    'cluster-size': layer.clusterSize,
    'extended-l2': hasSubclusters(layer),
    'refcount-bits': layer.refcountBits,
    'compression-type': layer.compression,
    ...encryption(layer),
    ...link,
  });
}

function encryption({ encryption: kind }: Layer): object {
  if (kind === 'none') return {};
  if (kind === 'aes') return { encrypt: { format: 'qcow', 'key-secret': SECRET } };
  return { encrypt: { format: 'luks', 'key-secret': SECRET, 'cipher-alg': 'aes-128', 'iter-time': 1 } };
}

function openLayer(graph: Graph, layer: Layer): Promise<BlockNode> {
  const file = { driver: 'file', filename: layer.path };
  return openNode(
    graph,
    parseBlockdevOptions({ driver: layer.format, file, discard: 'unmap', ...encryptOption(layer) }),
  );
}

async function fillLayer(
  node: BlockNode,
  layer: Layer,
  content: number[],
  random: Random,
  nextValue: () => number,
): Promise<void> {
  const clusterSectors = layer.clusterSize / SECTOR;
  const amount = random.pick([0, 4, 12, 40]);
  for (let i = 0; i < amount; i++) {
    const first = random.below(layer.sectors);
    const count = Math.min(layer.sectors - first, random.between(1, random.pick([4, 30, 120])));
    const kind = random.below(8);
    if (kind === 0) {
      await node.writeZeroes(first * SECTOR, count * SECTOR, { mayUnmap: random.chance(0.5) });
      content.fill(0, first, first + count);
      continue;
    }
    if (kind === 1 && layer.format === 'qcow2' && layer.encryption === 'none' && layer.refcountBits > 2) {
      await fillCompressed(
        node,
        Math.floor(first / clusterSectors) * clusterSectors,
        clusterSectors,
        content,
        nextValue,
      );
      continue;
    }
    const values = Array.from({ length: count }, nextValue);
    await node.write(first * SECTOR, encodeSectors(values));
    content.splice(first, count, ...values);
  }
}

async function fillCompressed(
  node: BlockNode,
  first: number,
  clusterSectors: number,
  content: number[],
  nextValue: () => number,
): Promise<void> {
  const count = Math.min(clusterSectors, content.length - first);
  const values = Array.from({ length: count }, nextValue);
  await node.write(first * SECTOR, encodeSectors(values), { compressed: true });
  content.splice(first, count, ...values);
}
