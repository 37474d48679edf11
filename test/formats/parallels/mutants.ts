// The Parallels images that are mutated.

import { createImage } from '../../../src/block/create.js';
import { openNode } from '../../../src/block/open.js';
import type { BlockdevOptions } from '../../../src/schema/generated/types.js';
import { graphWith, IMAGE } from '../../mutation/images.js';
import type { MadeMutant, MutantKind, Place } from '../fixture.js';
import { BITMAP, bitmapData, withExtension, withOldMagic } from './images.js';

const CLUSTER = 64 << 10;
const CLUSTERS = 6;
const OPTIONS: BlockdevOptions = { driver: 'parallels', file: { driver: 'file', filename: IMAGE }, discard: 'unmap' };
const PLACES: readonly Place[] = [
  [0, 64],
  [16, 64],
  [64, 64 + 4 * CLUSTERS],
  [64, 64 + 4 * CLUSTERS],
];

async function make(change: (image: Buffer) => Buffer, places: readonly Place[]): Promise<MadeMutant> {
  const { host, graph } = await graphWith(new Map());
  const size = CLUSTERS * CLUSTER;
  await createImage(graph, IMAGE, { driver: 'parallels', size, 'cluster-size': CLUSTER });
  const node = await openNode(graph, OPTIONS);
  for (const cluster of [4, 0]) await node.write(cluster * CLUSTER + 4096, new Uint8Array(8192).fill(cluster + 1));
  await graph.closeAll();
  return { files: new Map([[IMAGE, Buffer.from(change(Buffer.from(host.readFile(IMAGE))))]]), places };
}

function kind(name: string, change: (image: Buffer) => Buffer, places: readonly Place[] = PLACES): MutantKind {
  return {
    name,
    costly: false,
    repairs: true,
    data: false,
    byteOrder: 'little',
    options: OPTIONS,
    make: () => make(change, places),
  };
}

const EXTENSION = 3 * CLUSTER;

export const PARALLELS_MUTANTS: readonly MutantKind[] = [
  kind('parallels', (image) => image),
  kind('parallels, older magic', withOldMagic),
  kind(
    'parallels, extension',
    (image) =>
      withExtension(
        image,
        [{ magic: BITMAP, data: bitmapData((CLUSTERS * CLUSTER) / 512, 8, [BigInt((EXTENSION + CLUSTER) / 512)]) }],
        Buffer.alloc(CLUSTER, 0x55),
      ),
    [...PLACES, [EXTENSION, EXTENSION + 96], [EXTENSION + 24, EXTENSION + 96]],
  ),
];
