// The file with the content of guest clusters. What L2 entries point to is read, written, zeroed and located here, by host offset.
//
//   read, cow, compressed, locate, write, resize --host offset--> DataFile --> the file that the content lies in
//   mapping, allocation, commit order -----------offset in the image file----> ImageFile
//
// Both are one file, unless the image has an external data file (external-data.ts): then host offsets of content are offsets in that.

import type { BlockNode } from '../../../block/node/node.js';
import type { Located } from '../../../block/types.js';
import type { BlkdebugEvent } from '../../../schema/generated/types.js';
import type { ImageFile } from '../../image-file.js';
import type { GuestOffset, HostOffset } from './types.js';

export class DataFile {
  readonly file: ImageFile;
  /** The content has a file of its own, in which each guest cluster lies at its guest offset: nothing is allocated or counted there. */
  readonly isExternal: boolean = false;
  /** What lies in the file is encrypted: it is not the content as it is, and zeroes there are none of the disk. */
  readonly isEncrypted: boolean = false;
  /** The content's file alone reads as the disk does (`data_file_raw`). */
  readonly isRaw: boolean = false;

  constructor(file: ImageFile) {
    this.file = file;
  }

  /** Bytes. */
  get length(): number {
    return this.file.length;
  }

  /** The node that host offsets in a block status refer to. */
  get node(): BlockNode {
    return this.file.link.node;
  }

  /** What is marked when content was written, for the next flush. */
  get written(): { unflushed: boolean } {
    return this.file;
  }

  /** As `ImageFile.raise`, of the node that the content lies in. */
  raise(event: BlkdebugEvent): Promise<void> | undefined {
    return this.file.raise(event);
  }

  /**
   * Fills `buffer` with what lies at `host`, the content of the disk at `guest`; bytes beyond the end of the file are zeroes. `event` is raised first.
   */
  read(host: HostOffset, _guest: GuestOffset, buffer: Uint8Array, event: BlkdebugEvent): Promise<void> {
    return this.file.read(host, buffer, event);
  }

  /** As `read`, of what is stored in another form than the disk has it: a compressed cluster. */
  readStored(host: HostOffset, buffer: Uint8Array, event: BlkdebugEvent): Promise<void> {
    return this.file.read(host, buffer, event);
  }

  /** Writes inside the file. A caller that allocated the place must have called `makeRoom`. */
  write(host: HostOffset, _guest: GuestOffset, buffer: Uint8Array, event?: BlkdebugEvent): Promise<void> {
    return this.file.write(host, buffer, event);
  }

  /** As `write`, of what is stored in another form. */
  writeStored(host: HostOffset, buffer: Uint8Array, event: BlkdebugEvent): Promise<void> {
    return this.file.write(host, buffer, event);
  }

  /** Fills `buffer` with content at `host` in a form that `writeMoved` can store at another place of the file. */
  readToMove(host: HostOffset, buffer: Uint8Array): Promise<void> {
    return this.file.read(host, buffer);
  }

  /** Stores at `host` what `readToMove` has read elsewhere. */
  writeMoved(host: HostOffset, buffer: Uint8Array): Promise<void> {
    return this.file.write(host, buffer);
  }

  writeZeroes(host: HostOffset, _guest: GuestOffset, length: number): Promise<void> {
    return this.file.writeZeroes(host, length);
  }

  /** As `ImageFile.discard`. */
  discard(host: HostOffset, length: number): Promise<void> {
    return this.file.discard(host, length);
  }

  /** Ends the use of the content. */
  close(): void {}

  /**
   * Grows the file to the end of [host, host + length), which was just allocated. Resolves with true where the range is known to read as zeroes.
   * Rejects with `no-space`, `io`.
   */
  async makeRoom(host: HostOffset, length: number): Promise<boolean> {
    await this.file.ensureLength(host + length);
    return this.file.takeFresh(host, host + length);
  }

  /** `BlockNode.locate` of the file below. */
  locate(host: HostOffset, length: number, write: boolean, into: Located): boolean {
    return this.file.link.locate(host, length, write, into);
  }

  /** Makes content durable that lies in a file of its own; undefined: there is nothing to be waited for. The flush of the image file does not cover that. */
  flush(): Promise<void> | undefined {
    return undefined;
  }

  /**
   * Called, within the range's lock, before the entries of [start, end) are made to read as zeroes; `unmap`: their space may be given back. Undefined: there
   * is nothing to be waited for.
   */
  zeroing(_start: number, _end: number, _unmap: boolean): Promise<void> | undefined {
    return undefined;
  }
}
