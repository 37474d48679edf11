// The table of a dynamic or differencing image, as the places of its blocks.

import { SECTOR_BYTES } from '../../../util/numbers.js';
import type { ImageFile } from '../../image-file.js';
import { LinearTable } from '../blocks/linear-table.js';
import { badEntry } from '../blocks/pages.js';
import { HOLE } from '../blocks/places.js';
import { FOOTER_BYTES } from './footer.js';
import { ENTRY_BYTES, HEADER_BYTES, type Header, tableEnd, UNALLOCATED } from './header.js';

export class BlockTable {
  readonly linear: LinearTable;
  readonly #file: ImageFile;
  readonly #header: Header;
  /** What a block may not lie on: [start, end) each. */
  readonly #metadata: readonly (readonly [number, number])[];
  readonly #metadataEnd: number;

  constructor(file: ImageFile, header: Header, blocks: number) {
    this.#file = file;
    this.#header = header;
    this.linear = new LinearTable(file, { offset: header.tableOffset, entries: blocks, littleEndian: false });
    this.#metadata = [
      [0, FOOTER_BYTES],
      [header.offset, header.offset + HEADER_BYTES],
      [header.tableOffset, tableEnd(header)],
    ];
    this.#metadataEnd = Math.max(...this.#metadata.map(([, end]) => end));
  }

  /** The place of the content of block `index`, behind its bitmap; HOLE; undefined where it is not in memory. Throws `corrupt-image`. */
  place(index: number): number | undefined {
    const entry = this.linear.get(index);
    if (entry === undefined) return undefined;
    if (entry === UNALLOCATED) return HOLE;
    const { bitmapBytes, blockBytes, tableOffset } = this.#header;
    const start = entry * SECTOR_BYTES;
    const content = start + bitmapBytes;
    if (start < this.#metadataEnd) {
      const end = content + blockBytes;
      if (this.#metadata.some(([from, to]) => start < to && from < end)) {
        throw badEntry(this.#file.path, `block ${index} lies on the metadata`, tableOffset + index * ENTRY_BYTES);
      }
    }
    return content;
  }

  /** `content`: where the block's content lies. */
  set(index: number, content: number): void {
    this.linear.set(index, (content - this.#header.bitmapBytes) / SECTOR_BYTES);
  }
}
