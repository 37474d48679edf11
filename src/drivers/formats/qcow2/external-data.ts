// The external data file (specification: incompatible bit 2, autoclear bit 1, header extension "External data file name"): guest clusters lie in a file of
// their own, each at its guest offset.
//
//   image file    | header | refcounts | L1 | L2 | ...          metadata alone, and refcounts for nothing else
//   data file     | guest cluster 0 | guest cluster 1 | ...     no refcounts, no compressed clusters
//
// So nothing is allocated, and what was unmapped is mapped to the same place again. That is why the space of unmapped clusters is given back at once, within
// the range's lock, and not by a later commit: by then new data may lie there.
//
// A raw data file reads as the disk does, whatever the tables say: zeroes are written to it, too, before the tables say zero.
// The data file is flushed before tables are written that point into it (commit-order.ts): the two files have nothing else to order them.

import type { BlkdebugEvent, PreallocMode } from '../../../schema/generated/types.js';
import type { ImageFile } from '../../image-file.js';
import { DataFile } from './data-file.js';
import type { GuestOffset, HostOffset } from './types.js';

export class ExternalData extends DataFile {
  override readonly isExternal = true;
  override readonly isRaw: boolean;
  /** Whether space that a guest discards is given back. */
  readonly #passesDiscards: () => boolean;

  constructor(file: ImageFile, isRaw: boolean, passesDiscards: () => boolean) {
    super(file);
    this.isRaw = isRaw;
    this.#passesDiscards = passesDiscards;
  }

  /** The file may be shorter than the disk: it grows. */
  override async write(host: HostOffset, guest: GuestOffset, buffer: Uint8Array, event?: BlkdebugEvent): Promise<void> {
    if (host + buffer.length > this.length) await this.file.ensureLength(host + buffer.length);
    await super.write(host, guest, buffer, event);
  }

  override async writeZeroes(host: HostOffset, guest: GuestOffset, length: number): Promise<void> {
    if (host + length > this.length) await this.file.ensureLength(host + length);
    await super.writeZeroes(host, guest, length);
  }

  override flush(): Promise<void> | undefined {
    return this.file.unflushed ? this.file.flush() : undefined;
  }

  override zeroing(start: number, end: number, unmap: boolean): Promise<void> | undefined {
    const frees = unmap && this.#passesDiscards();
    if (this.isRaw) return this.#zero(start, end, frees);
    return frees ? this.file.discard(start, Math.max(0, Math.min(end, this.length) - start)) : undefined;
  }

  /** Beyond the end of the file, there are zeroes already. */
  async #zero(start: number, end: number, mayUnmap: boolean): Promise<void> {
    const length = Math.min(end, this.length) - start;
    if (length > 0) await this.file.writeZeroes(start, length, mayUnmap);
  }

  /** Gives back the space of [start, end), to which no entry on the disk points. A hint. */
  async drop(start: number, end: number): Promise<void> {
    const length = Math.min(end, this.length) - start;
    if (length > 0) await this.file.discard(start, length);
  }

  /**
   * Before the disk, of `oldSize` bytes, grows to `size`: what the file has behind its end does not become the disk's. A device keeps its size, and gets zeroes
   * there. Rejects with `io`.
   */
  async clearBehind(oldSize: number, size: number): Promise<void> {
    if (this.length <= oldSize) return;
    if (this.node.fixedSize) await this.file.writeZeroes(oldSize, Math.min(size, this.length) - oldSize, false);
    else await this.file.resizeTo(oldSize, 'off');
  }

  /**
   * Gives the file the `size` bytes that the disk is about to have, of which it had `oldSize`. The disk's last cluster, once it was zeroed, may already reach further.
   * Rejects as `resize`.
   */
  async grow(oldSize: number, size: number, preallocation: PreallocMode): Promise<void> {
    const takesSpace = preallocation === 'falloc' || preallocation === 'full';
    const isLonger = this.length > size && !this.node.fixedSize;
    await this.resize(size, takesSpace && !isLonger ? preallocation : 'off');
    if (takesSpace && isLonger) await this.file.reserve(oldSize, size - oldSize);
  }

  /** Gives the file exactly `size` bytes; what is new reads as zeroes. A device keeps its size. Rejects with `no-space` where that is not enough. */
  async resize(size: number, preallocation: PreallocMode): Promise<void> {
    if (this.node.fixedSize) await this.file.ensureLength(size);
    else await this.file.resizeTo(size, preallocation);
  }

  /** Cuts what was added beyond what is used. */
  trim(): Promise<void> {
    return this.file.trim();
  }
}
