// The space of a qcow file: all that is new goes to its end. Clusters and tables begin where a cluster can, compressed data at a sector, so that no write tears what was
// written before it. Nothing in the file says what is free, so what was written and is not in use stays lost when the image is closed.

import { BlockError } from '../../../util/errors.js';
import { roundUp, SECTOR_BYTES } from '../../../util/numbers.js';
import type { ImageFile } from '../../image-file.js';
import type { BlockSource } from '../blocks/places.js';
import { BlockSpace, type NewBlock } from '../blocks/space.js';
import type { TableSource } from '../blocks/two-level-table.js';
import { ENTRY_BYTES, type Header } from './header.js';

export class QcowSpace implements BlockSource, TableSource {
  readonly #file: ImageFile;
  readonly #clusterBytes: number;
  readonly #tableBytes: number;
  readonly #blocks: BlockSpace;
  /** Something was taken since this was last set to false. */
  hasTaken = false;

  constructor(file: ImageFile, { clusterBits, l2Bits }: Pick<Header, 'clusterBits' | 'l2Bits'>) {
    this.#file = file;
    this.#clusterBytes = 2 ** clusterBits;
    this.#tableBytes = ENTRY_BYTES * 2 ** l2Bits;
    // The last cluster may lack its end, which is to become its own.
    const end = roundUp(file.length, this.#clusterBytes);
    this.#blocks = new BlockSpace(file, this.#clusterBytes, end, this.#clusterBytes);
  }

  take(): Promise<NewBlock> {
    this.hasTaken = true;
    return this.#blocks.take();
  }

  giveBack(block: NewBlock): void {
    this.#blocks.giveBack(block);
  }

  /** Gives up what was given back: at the end the file becomes shorter when it is trimmed, elsewhere it has holes. Only at the close. */
  async dropSpare(): Promise<void> {
    this.#blocks.settle();
    await this.#blocks.dropSpare();
  }

  takeTable(): Promise<NewBlock> {
    this.hasTaken = true;
    return this.#blocks.takeBytes(this.#tableBytes, this.#clusterBytes);
  }

  giveBackTable(table: NewBlock): void {
    this.#blocks.giveBackBytes(table, this.#tableBytes);
  }

  /** Takes room for compressed data, in whole sectors, below `limit`. Rejects with `limit`, `no-space`, `io`. */
  async takePacked(bytes: number, limit: number): Promise<NewBlock> {
    this.hasTaken = true;
    const room = await this.#blocks.takeBytes(bytes, SECTOR_BYTES);
    const { offset } = room;
    if (offset + bytes <= limit) return room;
    this.giveBackPacked(room, bytes);
    throw BlockError.at(this.#file.path, 'limit', 'No room for compressed data', { offset, operation: 'allocate' });
  }

  giveBackPacked(room: NewBlock, bytes: number): void {
    this.#blocks.giveBackBytes(room, bytes);
  }
}
