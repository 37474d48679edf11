import { IMAGE } from '../../mutation/images.js';
import type { FormatFixture, MutantKind } from '../fixture.js';
import { bochsImage } from './images.js';

const EXTENT = 4096;
const SIZE = 64 << 10;

function kind(version: 1 | 2): MutantKind {
  return {
    name: `bochs, version ${version}`,
    costly: false,
    repairs: false,
    data: false,
    byteOrder: 'little',
    options: { driver: 'bochs', file: { driver: 'file', filename: IMAGE } },
    make: async () => {
      const sectors = new Map([0, 1, 9, 40, 127].map((sector) => [sector, Buffer.alloc(512, sector + 1)]));
      const image = bochsImage({ version, extentBytes: EXTENT, size: SIZE }, sectors);
      return {
        files: new Map([[IMAGE, image]]),
        places: [
          [64, 96],
          [72, 96],
          [512, 512 + (4 * SIZE) / EXTENT],
          [576, 1088],
        ],
      };
    },
  };
}

/** It is only read: what the conformance suite tests is not there. */
export const BOCHS: FormatFixture = { name: 'bochs', conformance: [], mutants: [kind(1), kind(2)] };
