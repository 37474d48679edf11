// The space of a qcow file: all that is new goes to its end. Clusters and tables begin where a cluster can, compressed data at a sector, so that no write tears what was
// written before it. Nothing in the file says what is free, so what was written and is not in use stays lost.

import { BlockError } from '../../../util/errors.js';
import { roundUp, SECTOR_BYTES } from '../../../util/numbers.js';
import type { ImageFile } from '../../image-file.js';
import type { BlockSource } from '../blocks/places.js';
import type { NewBlock } from '../blocks/space.js';
import type { TableSource } from '../blocks/two-level-table.js';
import { ENTRY_BYTES, type Header } from './header.js';

export class QcowSpace implements BlockSource, TableSource {
  readonly #file: ImageFile;
  readonly #clusterBytes: number;
  readonly #tableBytes: number;
  #end: number;
  /** Clusters that were allocated, and are not in use. */
  readonly #spare: NewBlock[] = [];
  /** Something was taken since this was last set to false. */
  hasTaken = false;

  constructor(file: ImageFile, { clusterBits, l2Bits }: Pick<Header, 'clusterBits' | 'l2Bits'>) {
    this.#file = file;
    this.#clusterBytes = 2 ** clusterBits;
    this.#tableBytes = ENTRY_BYTES * 2 ** l2Bits;
    // The last cluster may lack its end, which is to become its own.
    this.#end = roundUp(file.length, this.#clusterBytes);
  }

  async take(): Promise<NewBlock> {
    this.hasTaken = true;
    const spare = this.#spare.pop();
    if (spare === undefined) return this.#claim(this.#clusterBytes, this.#clusterBytes);
    try {
      // The file may have been cut since.
      await this.#file.ensureLength(spare.offset + this.#clusterBytes);
      return spare;
    } catch (error) {
      this.#spare.push(spare);
      throw error;
    }
  }

  giveBack(block: NewBlock): void {
    if (!this.#release(block.offset, this.#clusterBytes)) this.#spare.push(block);
  }

  takeTable(): Promise<NewBlock> {
    return this.#claim(this.#tableBytes, this.#clusterBytes);
  }

  giveBackTable(table: NewBlock): void {
    this.#release(table.offset, this.#tableBytes);
  }

  /** Takes room for compressed data, in whole sectors, below `limit`. Rejects with `limit`, `no-space`, `io`. */
  async takePacked(bytes: number, limit: number): Promise<number> {
    const { offset } = await this.#claim(bytes, SECTOR_BYTES);
    if (offset + bytes <= limit) return offset;
    this.giveBackPacked(offset, bytes);
    throw BlockError.at(this.#file.path, 'limit', 'No room for compressed data', { offset, operation: 'allocate' });
  }

  giveBackPacked(offset: number, bytes: number): void {
    this.#release(offset, bytes);
  }

  /** Takes `bytes` at the end, for which the file has grown. Where it rejects, they are free again. */
  async #claim(bytes: number, unit: number): Promise<NewBlock> {
    this.hasTaken = true;
    const offset = roundUp(this.#end, unit);
    this.#end = offset + bytes;
    try {
      await this.#file.ensureLength(this.#end);
    } catch (error) {
      this.#release(offset, bytes);
      throw error;
    }
    return { offset, fresh: this.#file.takeFresh(offset, offset + bytes) };
  }

  #release(offset: number, bytes: number): boolean {
    if (offset + bytes !== this.#end) return false;
    this.#end = offset;
    return true;
  }
}
