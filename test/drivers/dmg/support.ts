// Images of Apple on a simulated disk, with numbers in them changed, and what the disk reads as, sector by sector.

import { openNode } from '../../../src/block/open.js';
import type { StreamType } from '../../../src/host/host.js';
import { missingLibrary, refuseMissing } from '../../../src/host/real/codecs.js';
import type { SimHost } from '../../../src/host/sim/index.js';
import { BlockError } from '../../../src/util/errors.js';
import {
  CHUNK_BYTES,
  type Chunk,
  chunk,
  dmgImage,
  type ImageShape,
  Kind,
  TABLE_HEAD_BYTES,
} from '../../formats/dmg/images.js';
import { makeBench, readNode } from '../support.js';

export const SECTOR = 512;
export const IMAGE = '/vms/image.dmg';
export const END = chunk(Kind.end, Buffer.alloc(0));

/** Of the resource fork: its head, and the length of the first resource. */
const FIRST_TABLE_AT = 256 + 4;

/** A chunk of `sectors` sectors that are full of `from`, `from + 1`, ... */
export function counted(kind: number, from: number, sectors: number): Chunk {
  return chunk(kind, Buffer.concat(Array.from({ length: sectors }, (_, i) => Buffer.alloc(SECTOR, from + i))));
}

/** An image in a resource fork, whose numbers lie there as they are, and the offsets of things in it. */
export function forked(tables: ImageShape['tables']): {
  image: Buffer;
  trailerAt: number;
  fork: number;
  chunkAt(i: number): number;
} {
  const { image, trailerAt, tablesAt } = dmgImage({ tables, tablesIn: 'resource fork' });
  const chunkAt = (i: number): number => tablesAt + FIRST_TABLE_AT + TABLE_HEAD_BYTES + CHUNK_BYTES * i;
  return { image, trailerAt, fork: tablesAt, chunkAt };
}

export interface Read {
  /** Of each sector its first byte, or the code of the error. */
  sectors: (number | string)[];
  /** Of the first sector that cannot be read. */
  reason: string;
  warnings: string[];
}

/** The system has no library of this kind. */
function dropLibrary({ codecs }: SimHost, type: StreamType): void {
  const { missing, decompress } = codecs;
  codecs.missing = (asked) => (asked === type ? missingLibrary(type) : missing(asked));
  codecs.decompress = async (asked, input, output) => {
    refuseMissing(codecs.missing(asked), 'decompress');
    return decompress(asked, input, output);
  };
}

/** Rejects where the image cannot be opened. `without`: a library that is missing. */
export async function readSectors(image: Uint8Array, without?: StreamType): Promise<Read> {
  const { host, graph, warnings } = makeBench();
  if (without !== undefined) dropLibrary(host, without);
  host.writeFile(IMAGE, image);
  const node = await openNode(graph, IMAGE, { readOnly: true });
  const sectors: (number | string)[] = [];
  let reason = '';
  for (let at = 0; at < node.length; at += SECTOR) {
    const sector = Buffer.alloc(SECTOR, 0xee);
    try {
      await readNode(node, at, sector);
      sectors.push(sector[0]);
    } catch (error) {
      if (!(error instanceof BlockError)) throw error;
      sectors.push(error.code);
      reason ||= error.reason;
    }
  }
  await graph.closeAll();
  return { sectors, reason, warnings };
}
