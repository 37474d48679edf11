// The VMDK images that are mutated. Descriptors that are files of their own have a test of theirs.

import { createImage } from '../../../src/block/create.js';
import { openNode } from '../../../src/block/open.js';
import type { BlockdevOptions } from '../../../src/schema/generated/types.js';
import { graphWith, IMAGE } from '../../mutation/images.js';
import type { MadeMutant, MutantKind, Place } from '../fixture.js';
import { SE_GRAIN, type SeGrain, seDescriptor, seExtent } from './se-images.js';

const GRAIN_BYTES = 65536;
const GRAINS = 6;
const OPTIONS: BlockdevOptions = { driver: 'vmdk', file: { driver: 'file', filename: IMAGE }, discard: 'unmap' };

async function makeSparse(zeroGrains: boolean): Promise<MadeMutant> {
  const { host, graph } = await graphWith(new Map());
  await createImage(graph, IMAGE, { driver: 'vmdk', size: GRAINS * GRAIN_BYTES, 'zeroed-grain': zeroGrains });
  const node = await openNode(graph, OPTIONS);
  for (const grain of [2, 0, 5]) await node.write(grain * GRAIN_BYTES + 4096, new Uint8Array(8192).fill(grain + 1));
  await graph.closeAll();
  const files = new Map(host.files().map((path) => [path, Buffer.from(host.readFile(path))]));
  // Directory, and table behind it: the copies, and the originals.
  const tables = (directory: number): Place[] => [
    [directory, directory + 4],
    [directory + 512, directory + 512 + 4 * GRAINS],
  ];
  return {
    files,
    places: [[4, 79], [4, 79], [12, 72], [512, 1024], ...tables(21 * 512), ...tables(26 * 512), ...tables(26 * 512)],
  };
}

async function makeCompressed(): Promise<MadeMutant> {
  const { host, graph } = await graphWith(new Map());
  await createImage(graph, IMAGE, { driver: 'vmdk', size: GRAINS * GRAIN_BYTES, subformat: 'streamOptimized' });
  const node = await openNode(graph, OPTIONS);
  for (const grain of [0, 2, 5]) {
    await node.write(grain * GRAIN_BYTES, new Uint8Array(GRAIN_BYTES).fill(grain + 1), { compressed: true });
  }
  await graph.closeAll();
  const files = new Map(host.files().map((path) => [path, Buffer.from(host.readFile(path))]));
  const tables: Place[] = [
    [21 * 512, 21 * 512 + 4],
    [22 * 512, 22 * 512 + 4 * GRAINS],
  ];
  // The first grain.
  return { files, places: [[4, 79], [4, 79], ...tables, ...tables, [GRAIN_BYTES, GRAIN_BYTES + 64]] };
}

const DESCRIPTOR = '/disk.vmdk';

async function makeSe(): Promise<MadeMutant> {
  const { content, directory, tables } = seExtent(
    { size: 5000 * SE_GRAIN, grains: 4 },
    new Map<number, SeGrain>([
      [0, 3],
      [1, 0],
      [3, 'zeroes'],
      [4, 'unmapped'],
      [4095, 1],
      [4096, 2],
    ]),
  );
  const descriptor = seDescriptor([{ size: 5000 * SE_GRAIN, filename: IMAGE.slice(1) }]);
  return {
    files: new Map([
      [IMAGE, content],
      [DESCRIPTOR, Buffer.from(descriptor)],
    ]),
    places: [
      [0, 208],
      [128, 208],
      [512, 544],
      [directory, directory + 16],
      [directory, directory + 16],
      [tables, tables + 48],
      [tables + 4095 * 8, tables + 4097 * 8],
    ],
  };
}

const SE_MUTANTS: MutantKind = {
  name: 'vmdk, seSparse',
  costly: false,
  repairs: false,
  data: false,
  descriptor: DESCRIPTOR,
  byteOrder: 'little',
  options: { driver: 'vmdk', file: { driver: 'file', filename: DESCRIPTOR } },
  make: makeSe,
};

const OWN_MUTANTS: readonly MutantKind[] = [
  { name: 'vmdk', make: () => makeSparse(false) },
  { name: 'vmdk, zeroed grains', make: () => makeSparse(true) },
  { name: 'vmdk, compressed', make: makeCompressed },
].map(({ name, make }) => ({
  name,
  costly: false,
  repairs: true,
  data: false,
  byteOrder: 'little',
  options: OPTIONS,
  make,
}));

export const VMDK_MUTANTS: readonly MutantKind[] = [...OWN_MUTANTS, SE_MUTANTS];
