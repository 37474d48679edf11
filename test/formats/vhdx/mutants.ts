// The VHDX images that are mutated: also one whose log is to be replayed.

import { createImage } from '../../../src/block/create.js';
import { openNode } from '../../../src/block/open.js';
import type { BlockdevOptions } from '../../../src/schema/generated/types.js';
import { graphWith, IMAGE } from '../../mutation/images.js';
import type { MadeMutant, MutantKind, Place } from '../fixture.js';
import { type Block, encodeDifference, LOCATOR, makeParent } from './differencing.js';
import { MIB, withLog } from './images.js';

const BLOCKS = 4;
const OPTIONS: BlockdevOptions = { driver: 'vhdx', file: { driver: 'file', filename: IMAGE }, discard: 'unmap' };
const TABLE = 2 * MIB;
const METADATA = 3 * MIB;
/** What has no checksum, more often than what has one. */
const PLACES: readonly Place[] = [
  [0, 16],
  [65536, 65536 + 80],
  [131072, 131072 + 80],
  [196608, 196608 + 80],
  [TABLE, TABLE + 8 * BLOCKS],
  [TABLE, TABLE + 8 * BLOCKS],
  [METADATA, METADATA + 192],
  [METADATA + 65536, METADATA + 65536 + 40],
];

async function make(own: object, hasLog: boolean): Promise<MadeMutant> {
  const { host, graph } = await graphWith(new Map());
  await createImage(graph, IMAGE, { driver: 'vhdx', size: BLOCKS * MIB, 'block-size': MIB, ...own });
  const node = await openNode(graph, OPTIONS);
  for (const block of [2, 0]) await node.write(block * MIB + 4096, new Uint8Array(8192).fill(block + 1));
  await graph.closeAll();
  const files = new Map(host.files().map((path) => [path, Buffer.from(host.readFile(path))]));
  if (!hasLog) return { files, places: PLACES };
  const image = files.get(IMAGE)!;
  files.set(IMAGE, withLog(image, TABLE, image.subarray(TABLE, TABLE + 4096)));
  return { files, places: [...PLACES, [MIB, MIB + 96], [MIB, MIB + 96], [MIB + 4096, MIB + 8192]] };
}

/** With blocks of all kinds, also one that is there in part. */
async function makeDifference(): Promise<MadeMutant> {
  const { host, graph } = await graphWith(new Map());
  const made = { host, graph, warnings: [] };
  const parent_linkage = await makeParent(made, '/parent.vhdx', BLOCKS * MIB, MIB);
  const image = encodeDifference({
    size: BLOCKS * MIB,
    texts: { parent_linkage, relative_path: '.\\parent.vhdx' },
    blocks: new Map<number, Block>([
      [1, { state: 2 }],
      [2, { sectors: new Map([[9, 2]]) }],
    ]),
  });
  const files = new Map(host.files().map((path) => [path, Buffer.from(host.readFile(path))]));
  files.set(IMAGE, Buffer.from(image));
  const bitmap: Place = [TABLE + 8 * 4096, TABLE + 8 * 4097];
  const locator: Place = [LOCATOR, LOCATOR + 300];
  return { files, places: [...PLACES, bitmap, bitmap, locator, locator] };
}

function kind(name: string, own: object, hasLog = false): MutantKind {
  return {
    name,
    costly: false,
    repairs: true,
    data: false,
    byteOrder: 'little',
    options: OPTIONS,
    make: () => make(own, hasLog),
  };
}

export const VHDX_MUTANTS: readonly MutantKind[] = [
  kind('vhdx', {}),
  kind('vhdx, fixed', { subformat: 'fixed' }),
  kind('vhdx, with a log', {}, true),
  { ...kind('vhdx, differencing', {}), repairs: false, make: makeDifference },
];
