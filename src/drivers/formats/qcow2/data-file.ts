// The file with the content of guest clusters. What L2 entries point to is read, written, zeroed and located here, by host offset.
//
//   read, cow, compressed, locate, write, resize --host offset--> DataFile --> ImageFile: L2 tables and content share one file
//   mapping, allocation, commit order -----------offset in the image file----> ImageFile
//
// Only the allocation relies on both being the same file (it discards freed clusters of either kind there); an external data file, or encrypted
// content, would change this class and the allocation.

import type { BlockNode } from '../../../block/node/node.js';
import type { Located } from '../../../block/types.js';
import type { BlkdebugEvent } from '../../../schema/generated/types.js';
import type { ImageFile } from './image-file.js';
import type { HostOffset } from './types.js';

export class DataFile {
  readonly #file: ImageFile;

  constructor(file: ImageFile) {
    this.#file = file;
  }

  /** Bytes. */
  get length(): number {
    return this.#file.length;
  }

  /** The node that host offsets in a block status refer to. */
  get node(): BlockNode {
    return this.#file.link.node;
  }

  /** As `ImageFile.raise`, of the node that the content lies in. */
  raise(event: BlkdebugEvent): Promise<void> | undefined {
    return this.#file.raise(event);
  }

  /** Fills `buffer`; bytes beyond the end of the file are zeroes. `event` is raised first. */
  read(host: HostOffset, buffer: Uint8Array, event: BlkdebugEvent): Promise<void> {
    return this.#file.read(host, buffer, event);
  }

  /** Writes inside the file. A caller that allocated the place must have called `makeRoom`. */
  write(host: HostOffset, buffer: Uint8Array, event: BlkdebugEvent): Promise<void> {
    return this.#file.write(host, buffer, event);
  }

  writeZeroes(host: HostOffset, length: number): Promise<void> {
    return this.#file.writeZeroes(host, length);
  }

  /**
   * Grows the file to the end of [host, host + length), which was just allocated. Resolves with true where the range is known to read as zeroes.
   * Rejects with `no-space`, `io`.
   */
  async makeRoom(host: HostOffset, length: number): Promise<boolean> {
    await this.#file.ensureLength(host + length);
    return this.#file.takeFresh(host, host + length);
  }

  /** `BlockNode.locate` of the file below. */
  locate(host: HostOffset, length: number, write: boolean, into: Located): boolean {
    return this.#file.link.locate(host, length, write, into);
  }
}
