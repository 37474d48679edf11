import { IMAGE } from '../../mutation/images.js';
import type { FormatFixture, MutantKind } from '../fixture.js';
import { cloopImage } from './images.js';

const BLOCK = 4096;
const BLOCKS = 8;

const KIND: MutantKind = {
  name: 'cloop',
  costly: false,
  repairs: false,
  data: false,
  byteOrder: 'big',
  options: { driver: 'cloop', file: { driver: 'file', filename: IMAGE } },
  make: async () => {
    const content = Buffer.from(Array.from({ length: BLOCK * BLOCKS }, (_, i) => (i >> 5) % 251));
    const image = cloopImage(content, BLOCK);
    const data = 136 + 8 * (BLOCKS + 1);
    return {
      files: new Map([[IMAGE, image]]),
      places: [
        [128, 136],
        [136, data],
        [136, data],
        [data, image.length],
      ],
    };
  },
};

/** It is only read: what the conformance suite tests is not there. */
export const CLOOP: FormatFixture = { name: 'cloop', conformance: [], mutants: [KIND] };
