// The space of a Parallels image: new clusters go behind all that the table points to.

import { HIGH_WORD } from '../../../util/bytes.js';
import { BlockError } from '../../../util/errors.js';
import { roundUp } from '../../../util/numbers.js';
import type { ImageFile } from '../../image-file.js';
import type { BlockSource } from '../blocks/places.js';
import { BlockSpace, type NewBlock } from '../blocks/space.js';
import { type Header, tableEnd } from './header.js';

/** Where the clusters begin. */
export function firstPlace({ dataOffset, entries, entryUnit, clusterBytes }: Header): number {
  const least = Math.max(dataOffset, tableEnd(entries));
  return entryUnit === clusterBytes ? roundUp(least, clusterBytes) : least;
}

export class ParallelsSpace implements BlockSource {
  readonly #file: ImageFile;
  readonly #header: Header;
  #blocks: BlockSpace | null = null;

  constructor(file: ImageFile, header: Header) {
    this.#file = file;
    this.#header = header;
  }

  /** End of the last cluster in use, after `begin`: what is not in use behind it is given up. */
  settle(): number {
    const blocks = this.#blocks!;
    blocks.settle();
    return blocks.end;
  }

  /** All clusters in use lie before `end`. */
  begin(end: number): void {
    const { clusterBytes } = this.#header;
    const start = firstPlace(this.#header);
    this.#blocks = new BlockSpace(this.#file, clusterBytes, start + roundUp(end - start, clusterBytes));
  }

  async take(): Promise<NewBlock> {
    const blocks = this.#blocks!;
    const block = await blocks.take();
    if (block.offset / this.#header.entryUnit < HIGH_WORD) return block;
    blocks.giveBack(block);
    throw BlockError.at(
      this.#file.path,
      'limit',
      'The file of a Parallels image cannot be larger: an entry of its table has 32 bits',
      {
        operation: 'allocate',
      },
    );
  }

  giveBack(block: NewBlock): void {
    this.#blocks!.giveBack(block);
  }
}
