// The space of a dynamic image: new blocks go behind all that its table points to. So the table is looked through when the image is opened, as by QEMU (4 bytes for each 2 MiB
// of the disk): blocks that lie beyond the end of the file tell that the image was cut.

import { BlockError } from '../../../util/errors.js';
import { roundUp, SECTOR_BYTES } from '../../../util/numbers.js';
import type { ImageFile } from '../../image-file.js';
import type { BlockSource } from '../blocks/places.js';
import { BlockSpace, type NewBlock } from '../blocks/space.js';
import { FOOTER_BYTES } from './footer.js';
import type { Footers } from './footers.js';
import { ENTRY_BYTES, firstPlace, HEADER_BYTES, type Header, strideOf, tableEnd, UNALLOCATED } from './header.js';

const STEP_BYTES = 1 << 20;

/** The end of all that is in use: of metadata and blocks. Rejects with `corrupt-image` where the file ends before, and `io`. */
export async function endOfBlocks(file: ImageFile, header: Header): Promise<number> {
  const { tableOffset, entries, blockBytes, bitmapBytes } = header;
  const cut = (): BlockError =>
    BlockError.at(
      file.path,
      'corrupt-image',
      'block-vpc: free_data_block_offset points after the end of file. The image has been truncated.',
      { operation: 'open' },
    );
  if (tableEnd(header) > roundUp(file.length, SECTOR_BYTES)) throw cut();
  let last = -1;
  const total = entries * ENTRY_BYTES;
  const buffer = new Uint8Array(Math.min(STEP_BYTES, roundUp(total, SECTOR_BYTES)));
  const view = new DataView(buffer.buffer);
  for (let done = 0; done < total; done += buffer.length) {
    await file.read(
      tableOffset + done,
      buffer.subarray(0, Math.min(buffer.length, roundUp(total - done, SECTOR_BYTES))),
    );
    const length = Math.min(buffer.length, total - done);
    for (let at = 0; at < length; at += ENTRY_BYTES) {
      const entry = view.getUint32(at);
      if (entry > last && entry !== UNALLOCATED) last = entry;
    }
  }
  const end = last < 0 ? 0 : last * SECTOR_BYTES + bitmapBytes + blockBytes;
  if (end > roundUp(file.length, SECTOR_BYTES)) throw cut();
  return Math.max(end, tableEnd(header), header.offset + HEADER_BYTES, FOOTER_BYTES);
}

export class VpcSpace implements BlockSource {
  readonly #file: ImageFile;
  readonly #header: Header;
  readonly #footers: Footers;
  /** What a new block has before it: its bitmap, all bits set, behind what aligns the content. */
  readonly #lead: Uint8Array;
  #blocks: BlockSpace | null = null;
  /** End of all that was ever in use. */
  #end = 0;
  #looking: Promise<number> | null = null;

  constructor(file: ImageFile, header: Header, footers: Footers) {
    this.#file = file;
    this.#header = header;
    this.#footers = footers;
    this.#lead = new Uint8Array(strideOf(header) - header.blockBytes);
    this.#lead.fill(0xff, this.#lead.length - header.bitmapBytes);
  }

  /** Looks through the table, where that was not done yet. Resolves with the end of all that was ever in use. Rejects as `endOfBlocks`. */
  async end(): Promise<number> {
    if (this.#blocks !== null) return this.#end;
    this.#looking ??= endOfBlocks(this.#file, this.#header).finally(() => {
      this.#looking = null;
    });
    const end = await this.#looking;
    if (this.#blocks === null) {
      this.#end = end;
      this.#blocks = new BlockSpace(this.#file, strideOf(this.#header), firstPlace(this.#header, end));
    }
    return this.#end;
  }

  /** Somebody else may have written to the image: it is looked through anew. */
  forget(): void {
    this.#blocks = null;
  }

  async take(): Promise<NewBlock> {
    await this.end();
    await this.#footers.keepCopy();
    const blocks = this.#blocks!;
    const block = await blocks.take();
    const content = block.offset + this.#lead.length;
    const end = content + this.#header.blockBytes;
    let isWritten = false;
    try {
      this.#refuseFar(content - this.#header.bitmapBytes);
      await this.#footers.reserve(end);
      this.#end = Math.max(this.#end, end);
      await this.#footers.settled();
      isWritten = true;
      await this.#file.write(block.offset, this.#lead);
    } catch (error) {
      blocks.giveBack({ ...block, fresh: block.fresh && !isWritten });
      throw error;
    }
    return { offset: content, fresh: block.fresh && !this.#footers.holds(content, end) };
  }

  giveBack({ offset, fresh }: NewBlock): void {
    this.#blocks!.giveBack({ offset: offset - this.#lead.length, fresh });
  }

  /** As `BlockSpace.dropSpare`. */
  async dropSpare(): Promise<void> {
    await this.#blocks?.dropSpare();
  }

  /** An entry is the number of a sector in 32 bits. */
  #refuseFar(place: number): void {
    if (place / SECTOR_BYTES < UNALLOCATED) return;
    throw BlockError.at(this.#file.path, 'limit', 'The file of a VHD image cannot be larger than 2 TiB', {
      operation: 'allocate',
    });
  }
}
