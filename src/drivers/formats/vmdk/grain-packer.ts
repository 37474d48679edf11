// The grains of a stream-optimised extent that are written: compressed, one behind the other at the end of the file, in the order in which they come.
//
//   | marker: first sector, length | zlib: 2 bytes, deflate, Adler-32 | zeroes up to the sector's end |

import type { Host } from '../../../host/host.js';
import { adler32 } from '../../../util/adler32.js';
import { viewOf } from '../../../util/bytes.js';
import { BlockError } from '../../../util/errors.js';
import { roundUp, SECTOR_BYTES } from '../../../util/numbers.js';
import { later } from '../../../util/settle.js';
import type { ImageFile } from '../../image-file.js';
import { MAX_FILE_BYTES } from './header.js';

export const MARKER_BYTES = 12;
/** Where a marker has the length of the compressed data. */
const PACKED_LENGTH = 8;
/** Before the compressed data: RFC 1950. */
export const ZLIB_BYTES = 2;
/** Deflate with a window of 4 KiB, which is what the host's codec makes. */
const ZLIB_HEAD = [0x48, 0x0d] as const;
const CHECKSUM_BYTES = 4;
/** What data that cannot be compressed grows by. */
const SLACK_BYTES = 1024;

/** The most that a grain takes in the file. */
export function mostPackedBytes(grainBytes: number): number {
  return roundUp(MARKER_BYTES + ZLIB_BYTES + grainBytes + SLACK_BYTES + CHECKSUM_BYTES, SECTOR_BYTES);
}

/** Bytes of the compressed data behind `marker`, as it says. */
export function packedLength(marker: Uint8Array): number {
  return viewOf(marker).getUint32(PACKED_LENGTH, true);
}

/** Compresses the grain that begins at `offset` of the extent into `packed`, which has `mostPackedBytes`. Resolves with the bytes that it takes there: whole sectors. */
export async function packGrain(
  { codecs }: Host,
  offset: number,
  grain: Uint8Array,
  packed: Uint8Array,
): Promise<number> {
  const start = MARKER_BYTES + ZLIB_BYTES;
  const data = start + (await codecs.compress('zlib', grain, packed.subarray(start, packed.length - CHECKSUM_BYTES)));
  const end = roundUp(data + CHECKSUM_BYTES, SECTOR_BYTES);
  packed.fill(0, data, end);
  const view = viewOf(packed);
  view.setBigUint64(0, BigInt(offset / SECTOR_BYTES), true);
  view.setUint32(PACKED_LENGTH, data + CHECKSUM_BYTES - MARKER_BYTES, true);
  packed.set(ZLIB_HEAD, MARKER_BYTES);
  view.setUint32(data, adler32(grain));
  return end;
}

/** Throws `limit` where a file at `path` that has `place` bytes cannot have `bytes` more. */
export function checkFits(path: string, place: number, bytes: number): void {
  if (place + bytes <= MAX_FILE_BYTES) return;
  throw BlockError.at(path, 'limit', 'The file of a VMDK extent cannot be larger than 2 TiB', {
    offset: place,
    operation: 'allocate',
  });
}

export class GrainPacker {
  readonly #file: ImageFile;
  readonly #host: Host;
  #end: number;
  /** Places are given in the order in which grains came. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(file: ImageFile, host: Host) {
    this.#file = file;
    this.#host = host;
    this.#end = roundUp(file.length, SECTOR_BYTES);
  }

  /** Writes a grain that begins at `offset` of the extent; resolves with its place. Rejects with `no-space`, `io`, `limit`. */
  async add(offset: number, grain: Uint8Array): Promise<number> {
    const { memory } = this.#host;
    const packed = memory.allocate(mostPackedBytes(grain.length));
    const before = this.#turn;
    const packing = later(packGrain(this.#host, offset, grain, packed));
    const placed = Promise.allSettled([before]).then(async () => {
      const bytes = await packing;
      const place = this.#end;
      checkFits(this.#file.path, place, bytes);
      this.#end += bytes;
      return { place, bytes: packed.subarray(0, bytes) };
    });
    this.#turn = placed;
    try {
      const { place, bytes } = await placed;
      await this.#file.ensureLength(place + bytes.length);
      await this.#file.write(place, bytes, 'write_compressed');
      return place;
    } finally {
      memory.free(packed);
    }
  }
}
