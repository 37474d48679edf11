// The header of a compressed loop image, version 2.0.
//
//   | a shell script, 128 bytes | bytes of a block | number of blocks | offsets: 64 bits each, one more than blocks | block | block | ...
//
// All numbers are big-endian. A block lies between its offset and the next one, as a stream of zlib (RFC 1950), and has the bytes of a block when it is decompressed.
// Source: the format as create_compressed_fs writes it.

import type { Child } from '../../../block/child.js';
import { readUpTo } from '../../../block/stale.js';
import { viewBe64, viewOf } from '../../../util/bytes.js';
import { BlockError } from '../../../util/errors.js';
import { SECTOR_BYTES } from '../../../util/numbers.js';

const SCRIPT_BYTES = 128;
export const HEADER_BYTES = SCRIPT_BYTES + 8;
/** QEMU's limits. */
const MAX_BLOCK_BYTES = 64 << 20;
const MAX_OFFSETS_BYTES = 512 << 20;
const MAX_BLOCKS = 0x1fff_ffff;

export interface Header {
  blockBytes: number;
  blocks: number;
}

/** Throws `invalid-image`, in QEMU's words where QEMU refuses the image, too. */
export function parseHeader(head: Uint8Array, path: string): Header {
  const fail = (reason: string): never => {
    throw BlockError.at(path, 'invalid-image', reason, { operation: 'open' });
  };
  const bytes = new Uint8Array(HEADER_BYTES);
  bytes.set(head.subarray(0, HEADER_BYTES));
  const view = new DataView(bytes.buffer);
  const blockBytes = view.getUint32(SCRIPT_BYTES);
  if (blockBytes === 0) fail('block_size cannot be zero');
  if (blockBytes % SECTOR_BYTES !== 0) fail(`block_size ${blockBytes} must be a multiple of ${SECTOR_BYTES}`);
  if (blockBytes > MAX_BLOCK_BYTES) fail(`block_size ${blockBytes} must be 64 MB or less`);
  const blocks = view.getUint32(SCRIPT_BYTES + 4);
  if (blocks > MAX_BLOCKS) fail(`n_blocks ${blocks} must be ${MAX_BLOCKS} or less`);
  if ((blocks + 1) * 8 > MAX_OFFSETS_BYTES) fail('image requires too many offsets, try increasing block size');
  return { blockBytes, blocks };
}

/** The header, and behind it the offsets of the blocks, as far as the file has them. Rejects as `parseHeader`, and with `io`. */
export async function readHead(link: Child): Promise<Uint8Array> {
  const head = await readUpTo(link, HEADER_BYTES);
  const { blocks } = parseHeader(head, link.filename);
  return Buffer.concat([head, await readUpTo(link, 8 * (blocks + 1), HEADER_BYTES)]);
}

/** Where the blocks lie. */
export class Offsets {
  readonly #view: DataView;

  /** `bytes`: the offsets as they are in the file. Throws `invalid-image`, in QEMU's words where QEMU refuses the image, too. */
  constructor(bytes: Uint8Array, { blocks }: Header, path: string) {
    const fail = (reason: string): never => {
      throw BlockError.at(path, 'invalid-image', reason, { operation: 'open' });
    };
    if (bytes.length < (blocks + 1) * 8) fail('The offsets of the blocks do not lie within the file');
    this.#view = viewOf(bytes);
    for (let i = 1; i <= blocks; i++) {
      const length = this.at(i) - this.at(i - 1);
      if (length < 0) fail(`offsets not monotonically increasing at index ${i}, image file is corrupt`);
      // A block that cannot be made smaller is a little larger than what it holds.
      if (length > 2 * MAX_BLOCK_BYTES) {
        fail(`invalid compressed block size at index ${i}, image file is corrupt`);
      }
    }
  }

  /** Offset of block `index` in the file; behind the last block, where that ends. */
  at(index: number): number {
    return viewBe64(this.#view, 8 * index);
  }
}
