import { IMAGE } from '../../mutation/images.js';
import type { FormatFixture, MutantKind, SimulatedFormat } from '../fixture.js';
import { COW_ENTRIES } from './conformance.js';
import { COW_EFFECTS } from './effects.js';
import { COW_KINDS, type CowKind, cowImage } from './images.js';

const SIZE = 64 << 10;
const BASE = '/base';

/** Where the numbers of the header are. */
const FIELDS: Readonly<Record<CowKind, readonly [number, number]>> = {
  'version 1': [264, 280],
  'version 2': [4104, 4120],
  'version 3': [4, 32],
  'version 3, 64 bits': [4, 36],
};

function kind(name: CowKind): MutantKind {
  return {
    name: `cow, ${name}`,
    costly: false,
    repairs: false,
    data: false,
    byteOrder: name === 'version 1' ? 'little' : 'big',
    options: { driver: 'cow', file: { driver: 'file', filename: IMAGE }, discard: 'unmap' },
    make: async () => {
      const sectors = new Map([0, 1, 9, 40, 127].map((sector) => [sector, Buffer.alloc(512, sector + 1)]));
      const { image, bitmap } = cowImage({ kind: name, size: SIZE, backing: BASE, date: 0 }, sectors);
      return {
        files: new Map([
          [IMAGE, image],
          [BASE, Buffer.alloc(SIZE, 0xee)],
        ]),
        places: [[0, 8], FIELDS[name], FIELDS[name], [bitmap, bitmap + 16]],
      };
    },
  };
}

const SIMULATED: SimulatedFormat = {
  draw: (random) => ({ sectors: random.between(40, 6000), clusterBytes: 512, create: {} }),
  repairs: false,
  backing: 'raw',
};

/** No tool of QEMU has it: what uml_mkcow and uml_moo say is in its own tests. */
export const COW: FormatFixture = {
  name: 'cow',
  conformance: COW_ENTRIES,
  mutants: COW_KINDS.map(kind),
  simulated: SIMULATED,
  effects: COW_EFFECTS,
};
