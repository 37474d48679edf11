// The VHD images that are mutated.

import { createImage } from '../../../src/block/create.js';
import { openNode } from '../../../src/block/open.js';
import type { BlockdevOptions } from '../../../src/schema/generated/types.js';
import { graphWith, IMAGE } from '../../mutation/images.js';
import type { MadeMutant, MutantKind, Place } from '../fixture.js';
import { encodeDifference, makeParent, utf16 } from './differencing.js';

const MIB = 1 << 20;
const SIZE = 3 * MIB;
const OPTIONS: BlockdevOptions = { driver: 'vpc', file: { driver: 'file', filename: IMAGE }, discard: 'unmap' };
const COPY: Place = [0, 88];
const HEADER: readonly Place[] = [
  [512, 552],
  [1536, 1536 + 8],
  [1536, 1536 + 8],
];

async function make(subformat: 'dynamic' | 'fixed'): Promise<MadeMutant> {
  const { host, graph } = await graphWith(new Map());
  await createImage(graph, IMAGE, { driver: 'vpc', size: SIZE, subformat });
  const node = await openNode(graph, OPTIONS);
  for (const block of [1, 0]) await node.write(block * 2 * MIB + 4096, new Uint8Array(8192).fill(block + 1));
  await graph.closeAll();
  const files = new Map(host.files().map((path) => [path, Buffer.from(host.readFile(path))]));
  const { length } = files.get(IMAGE)!;
  const last: Place = [length - 512, length - 512 + 88];
  return { files, places: subformat === 'fixed' ? [last] : [COPY, ...HEADER, last] };
}

async function makeDifference(): Promise<MadeMutant> {
  const { host, graph } = await graphWith(new Map());
  const parentUuid = await makeParent(host, graph, '/parent.vhd', SIZE);
  await graph.closeAll();
  const image = encodeDifference({
    size: SIZE,
    blockBytes: 64 << 10,
    parentUuid,
    locators: [['W2ru', utf16('.\\parent.vhd')]],
    sectors: new Map([
      [1, 1],
      [7, 2],
      [300, 3],
    ]),
  });
  const files = new Map(host.files().map((path) => [path, Buffer.from(host.readFile(path))]));
  files.set(IMAGE, Buffer.from(image));
  return { files, places: [COPY, ...HEADER, [1088, 1112], [1536, 2048], [2048, 2080], [2560, 2592]] };
}

function kind(name: string, make: () => Promise<MadeMutant>): MutantKind {
  return { name, costly: false, repairs: false, data: false, byteOrder: 'big', options: OPTIONS, make };
}

export const VPC_MUTANTS: readonly MutantKind[] = [
  kind('vpc', () => make('dynamic')),
  kind('vpc, fixed', () => make('fixed')),
  kind('vpc, differencing', makeDifference),
];
