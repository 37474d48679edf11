// The VDI images that are mutated.

import { createImage } from '../../../src/block/create.js';
import { openNode } from '../../../src/block/open.js';
import type { BlockdevOptions } from '../../../src/schema/generated/types.js';
import { graphWith, IMAGE } from '../../mutation/images.js';
import type { MadeMutant, MutantKind } from '../fixture.js';

const MIB = 1 << 20;
const BLOCKS = 4;
const OPTIONS: BlockdevOptions = { driver: 'vdi', file: { driver: 'file', filename: IMAGE }, discard: 'unmap' };

async function make(preallocation: 'off' | 'metadata'): Promise<MadeMutant> {
  const { host, graph } = await graphWith(new Map());
  await createImage(graph, IMAGE, { driver: 'vdi', size: BLOCKS * MIB, preallocation });
  const node = await openNode(graph, OPTIONS);
  for (const block of [2, 0]) await node.write(block * MIB + 4096, new Uint8Array(8192).fill(block + 1));
  await graph.closeAll();
  const files = new Map(host.files().map((path) => [path, Buffer.from(host.readFile(path))]));
  return {
    files,
    places: [
      [64, 84],
      [0x154, 0x1c8],
      [0x154, 0x188],
      [512, 512 + 4 * BLOCKS],
      [512, 512 + 4 * BLOCKS],
    ],
  };
}

function kind(name: string, preallocation: 'off' | 'metadata'): MutantKind {
  return {
    name,
    costly: false,
    repairs: true,
    data: false,
    byteOrder: 'little',
    options: OPTIONS,
    make: () => make(preallocation),
  };
}

export const VDI_MUTANTS: readonly MutantKind[] = [kind('vdi', 'off'), kind('vdi, static', 'metadata')];
