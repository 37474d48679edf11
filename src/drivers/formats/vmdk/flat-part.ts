// A flat extent: a range of a file, byte for byte. And one of zeroes, which has no file.

import type { BlockStatus, Extent, Located, MovePlace, ZeroFlags } from '../../../block/types.js';
import type { VmdkExtentInfo } from '../../../schema/generated/types.js';
import { BlockError } from '../../../util/errors.js';
import type { ImageFile } from '../../image-file.js';
import type { ExtentLine } from './descriptor.js';
import type { WritablePart } from './part.js';

export class FlatPart implements WritablePart {
  readonly length: number;
  readonly grainBytes = 0;
  readonly compression = 'refused';
  readonly onlyRead = null;
  readonly info: VmdkExtentInfo;
  readonly #file: ImageFile;
  readonly #offset: number;

  constructor(file: ImageFile, { kind, length, offset }: ExtentLine) {
    this.#file = file;
    this.length = length;
    this.#offset = offset;
    this.info = { 'virtual-size': length, filename: file.path, format: kind };
  }

  /** So many of these bytes lie in the file; zeroes are read beyond. */
  #inside(offset: number, length: number): number {
    return Math.max(0, Math.min(length, this.#file.length - this.#offset - offset));
  }

  locate(offset: number, length: number, write: boolean, into: Located): boolean {
    if (this.#inside(offset, length) < length) return false;
    return this.#file.link.locate(this.#offset + offset, length, write, into);
  }

  read(offset: number, buffer: Uint8Array): Promise<void> {
    return this.#file.read(this.#offset + offset, buffer);
  }

  statusSync(): null {
    return null;
  }

  async status(offset: number, length: number): Promise<BlockStatus> {
    const inside = this.#inside(offset, length);
    const place = { allocated: true, compressed: false, offset: this.#offset + offset, node: this.#file.link.node };
    if (inside === 0) return { ...place, length, data: true, zero: true };
    const below = await this.#file.link.blockStatus(this.#offset + offset, inside);
    return { ...place, length: below.length, data: true, zero: below.zero };
  }

  async write(offset: number, buffer: Uint8Array): Promise<void> {
    await this.#grow(offset, buffer.length);
    await this.#file.write(this.#offset + offset, buffer);
  }

  async writeZeroes(offset: number, length: number, { mayUnmap, noFallback }: ZeroFlags): Promise<void> {
    const inside = this.#inside(offset, length);
    if (inside === 0) return;
    this.#file.unflushed = true;
    await this.#file.link.writeZeroes(this.#offset + offset, inside, { mayUnmap, noFallback });
  }

  async discard(offset: number, length: number): Promise<void> {
    const inside = this.#inside(offset, length);
    if (inside > 0) await this.#file.discard(this.#offset + offset, inside);
  }

  /** The file ends before the extent does. */
  async #grow(offset: number, length: number): Promise<void> {
    if (this.#inside(offset, length) < length) await this.#file.ensureLength(this.#offset + this.length);
  }

  async prepareMove(extents: readonly Extent[], granule: number): Promise<MovePlace | null> {
    const moved = extents.map(({ offset, length }) => ({ offset: this.#offset + offset, length }));
    if (extents.some(({ offset, length }) => this.#inside(offset, length) < length)) return null;
    this.#file.unflushed = true;
    return this.#file.link.prepareMove(moved, granule);
  }

  commit(): Promise<void> {
    return this.#file.flush();
  }

  trim(): Promise<void> {
    return this.#file.trim();
  }

  clear(): void {}
}

export class ZeroPart implements WritablePart {
  readonly length: number;
  readonly grainBytes = 0;
  readonly compression = 'refused';
  readonly onlyRead = null;
  readonly info: VmdkExtentInfo;
  readonly #path: string;

  /** `path`: of the descriptor. */
  constructor({ kind, length }: ExtentLine, path: string) {
    this.length = length;
    this.#path = path;
    this.info = { 'virtual-size': length, filename: '', format: kind };
  }

  locate(_offset: number, _length: number, write: boolean, into: Located): boolean {
    if (write) return false;
    into.file = null;
    into.guard = null;
    return true;
  }

  async read(_offset: number, buffer: Uint8Array): Promise<void> {
    buffer.fill(0);
  }

  statusSync(_offset: number, length: number): BlockStatus {
    return { length, allocated: true, data: false, zero: true, compressed: false, offset: -1, node: null };
  }

  async status(offset: number, length: number): Promise<BlockStatus> {
    return this.statusSync(offset, length);
  }

  async write(offset: number): Promise<void> {
    throw BlockError.at(this.#path, 'unsupported', 'An extent of zeroes has no place for data', {
      offset,
      operation: 'write',
    });
  }

  async writeZeroes(): Promise<void> {}

  async discard(): Promise<void> {}

  async prepareMove(): Promise<null> {
    return null;
  }

  async commit(): Promise<void> {}

  async trim(): Promise<void> {}

  clear(): void {}
}
