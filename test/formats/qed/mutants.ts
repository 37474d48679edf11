// The QED images that are mutated.

import { createImage } from '../../../src/block/create.js';
import { openNode } from '../../../src/block/open.js';
import type { BlockdevOptions } from '../../../src/schema/generated/types.js';
import { graphWith, IMAGE } from '../../mutation/images.js';
import type { MadeMutant, MutantKind } from '../fixture.js';

const CLUSTER = 4096;
const OPTIONS: BlockdevOptions = { driver: 'qed', file: { driver: 'file', filename: IMAGE }, discard: 'unmap' };
const BASE = '/base.raw';

async function make(tableSize: number, over: boolean, dirty: boolean): Promise<MadeMutant> {
  const { host, graph } = await graphWith(new Map());
  const perTable = (tableSize * CLUSTER) / 8;
  if (over) await createImage(graph, BASE, { driver: 'raw', size: 40960 });
  await createImage(graph, IMAGE, {
    driver: 'qed',
    size: (perTable + 40) * CLUSTER,
    'cluster-size': CLUSTER,
    'table-size': tableSize,
    ...(over && { 'backing-file': BASE, 'backing-fmt': 'raw' }),
  });
  const node = await openNode(graph, OPTIONS);
  for (const cluster of [2, 0, 3, perTable + 1]) {
    await node.write(cluster * CLUSTER + 512, new Uint8Array(3000).fill(cluster + 1));
  }
  await node.writeZeroes(5 * CLUSTER, CLUSTER);
  await graph.closeAll();
  const files = new Map(host.files().map((path) => [path, Buffer.from(host.readFile(path))]));
  const image = files.get(IMAGE)!;
  if (dirty) image[16] |= 2;
  const l2 = Number(image.readBigUInt64LE(CLUSTER));
  return {
    files,
    places: [
      [0, 80],
      [4, 64],
      [CLUSTER, CLUSTER + 16],
      [CLUSTER, CLUSTER + 16],
      [l2, l2 + 56],
      [l2, l2 + 56],
    ],
  };
}

function kind(name: string, tableSize: number, over: boolean, dirty: boolean): MutantKind {
  return {
    name,
    costly: false,
    repairs: true,
    data: false,
    byteOrder: 'little',
    options: OPTIONS,
    make: () => make(tableSize, over, dirty),
  };
}

export const QED_MUTANTS: readonly MutantKind[] = [
  kind('qed', 1, false, false),
  kind('qed, over a raw file', 2, true, false),
  kind('qed, not closed properly', 2, false, true),
];
