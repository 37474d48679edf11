// Reads the parts of the file that belong to stored bitmaps, with a limit on the total: 1 GiB, and not more than the size of the file. So tables and bits
// that overlap in a malicious image cannot take more memory than the file has bytes.

import { BlockError } from '../../../util/errors.js';
import { roundUp } from '../../../util/numbers.js';
import type { ImageFile } from '../../image-file.js';
import type { HostOffset } from './types.js';

/** Limit of directory, tables and bits of all bitmaps of an image. For comparison: 64 TiB at a granularity of 64 KiB need 128 MiB of bits. */
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

  /** Reads bytes of the file; null where they are beyond its end. The last cluster may be incomplete: its rest reads as zeroes. */
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

  /** Bytes of the file from `offset` on. */
  left(offset: HostOffset): number {
    return Math.max(0, this.#file.length - offset);
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
