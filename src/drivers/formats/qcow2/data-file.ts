// Where the content of guest clusters lies: what L2 entries refer to is read, written, zeroed and located here, by host offset.
//
//   read, cow, compressed, locate, write, resize --host offset--> DataFile --> ImageFile: L2 tables and content share one file
//   mapping, allocation, commit order -----------offset in the image file----> ImageFile
//
// That both are the same file, and that content lies in it as the guest wrote it, matters to nobody else but the allocation, which gives the
// space of freed clusters of either kind back to the file.

import type { BlockNode } from '../../../block/node/node.js';
import type { Located } from '../../../block/types.js';
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

  /** The node that host offsets of a block status count in. */
  get node(): BlockNode {
    return this.#file.link.node;
  }

  /** Fills `buffer`; what lies behind the end of the file is zeroes. */
  read(host: HostOffset, buffer: Uint8Array): Promise<void> {
    return this.#file.read(host, buffer);
  }

  /** Writes inside the file: whoever allocated the place made room (`makeRoom`). */
  write(host: HostOffset, buffer: Uint8Array): Promise<void> {
    return this.#file.write(host, buffer);
  }

  writeZeroes(host: HostOffset, length: number): Promise<void> {
    return this.#file.writeZeroes(host, length);
  }

  /**
   * Makes the file reach to the end of [host, host + length), which was just allocated. Resolves with whether the range is known to read as
   * zeroes. Rejects with `no-space`, `io`.
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
