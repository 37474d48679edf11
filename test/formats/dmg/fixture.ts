import { IMAGE } from '../../mutation/images.js';
import type { FormatFixture, MutantKind } from '../fixture.js';
import { chunk, dmgImage, type ImageShape, Kind, TRAILER_BYTES } from './images.js';
import { BZIP2, SAMPLE, XZ } from './samples.js';

const SECTOR = 512;
const END = chunk(Kind.end, Buffer.alloc(0));

/** Chunks of all kinds, in two tables. */
const TABLES: ImageShape['tables'] = [
  [
    chunk(Kind.raw, SAMPLE.subarray(0, 3 * SECTOR)),
    chunk(Kind.zlib, SAMPLE),
    chunk(Kind.zero, Buffer.alloc(5 * SECTOR)),
    chunk(Kind.adc, SAMPLE),
    END,
  ],
  [
    chunk(Kind.comment, Buffer.alloc(0)),
    { kind: Kind.bzip2, content: SAMPLE, stored: BZIP2 },
    chunk(Kind.ignore, Buffer.alloc(SECTOR)),
    { kind: Kind.lzma, content: SAMPLE, stored: XZ },
    chunk(Kind.zlib, SAMPLE),
    END,
  ],
];

function kindOf(name: string, tablesIn: ImageShape['tablesIn']): MutantKind {
  return {
    name,
    costly: false,
    repairs: false,
    data: false,
    byteOrder: 'big',
    options: { driver: 'dmg', file: { driver: 'file', filename: IMAGE } },
    make: async () => {
      const { image, tablesAt, trailerAt } = dmgImage({ tables: TABLES, tablesIn });
      return {
        files: new Map([[IMAGE, image]]),
        places: [
          [0, tablesAt],
          [tablesAt, trailerAt],
          [tablesAt, trailerAt],
          [trailerAt, trailerAt + TRAILER_BYTES],
        ],
      };
    },
  };
}

/** It is only read: what the conformance suite tests is not there. */
export const DMG: FormatFixture = {
  name: 'dmg',
  conformance: [],
  mutants: [kindOf('dmg, property list', 'property list'), kindOf('dmg, resource fork', 'resource fork')],
};
