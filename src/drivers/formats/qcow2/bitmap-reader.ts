// Reading what stored bitmaps take of the file. All of it together is bounded, also by the size of the file: overlapping tables and bits get no
// more memory than the file has bytes.

import { BlockError } from '../../../util/errors.js';
import type { ImageFile } from './image-file.js';
import { type HostOffset, roundUp } from './types.js';

/** Directory, tables and bits of all bitmaps of an image: a disk of 64 TiB has 128 MiB of bits at 64 KiB each. */
const MAX_TOTAL_BYTES = 1 << 30;

export class BitmapReader {
  readonly #file: ImageFile;
  readonly clusterSize: number;
  /** Virtual size of the disk, bytes. */
  readonly size: number;
  /** Bytes that may still be read. */
  #budget: number;

  constructor(file: ImageFile, clusterSize: number, size: number) {
    this.#file = file;
    this.clusterSize = clusterSize;
    this.size = size;
    this.#budget = roundUp(Math.min(file.length, MAX_TOTAL_BYTES), clusterSize);
  }

  /** Bytes of the file, null where they lie behind its end. Its last cluster may end early, and reads as zeroes then. */
  async read(offset: HostOffset, length: number): Promise<Uint8Array | null> {
    if (length === 0) return new Uint8Array(0);
    if (!this.isInside(offset, length)) return null;
    this.spend(length);
    const bytes = new Uint8Array(length);
    await this.#file.read(offset, bytes);
    return bytes;
  }

  isInside(offset: HostOffset, length: number): boolean {
    return offset < this.#file.length && offset + length <= roundUp(this.#file.length, this.clusterSize);
  }

  /** Counts `length` bytes as read. Throws `limit`. */
  spend(length: number): void {
    this.#budget -= length;
    if (this.#budget < 0) throw this.error('limit', 'Bitmaps are too large, or overlap in the file');
  }

  error(code: 'invalid-image' | 'unsupported' | 'limit', reason: string): BlockError {
    return BlockError.at(this.#file.path, code, reason, { operation: 'open' });
  }
}
