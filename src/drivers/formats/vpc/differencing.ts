// vpc: a differencing VHD image, which holds the sectors that were written since it was made; all others are those of its parent. It is only read.
//
//   block without a place            the parent's
//   block with one, by its bitmap    1: the sector in the block, 0: the parent's

import type { Abilities } from '../../../block/abilities.js';
import type { Graph } from '../../../block/graph.js';
import type { NodeOptions } from '../../../block/node/node.js';
import { SECTOR_BYTES } from '../../../util/numbers.js';
import { ImageFile } from '../../image-file.js';
import { OverlayNode, type OverlayRun, refuseWriting } from '../blocks/overlay.js';
import { Pages } from '../blocks/pages.js';
import { HOLE } from '../blocks/places.js';
import { warnOfChecksum } from './checksum.js';
import type { VpcOpening } from './driver.js';
import { parseFooter } from './footer.js';
import type { Head } from './head.js';
import { type Header, parseHeader } from './header.js';
import { readParentName } from './parent.js';
import { endOfBlocks } from './space.js';
import { BlockTable } from './table.js';

export class DifferencingNode extends OverlayNode {
  override readonly driver = 'vpc';
  protected override readonly formatName = 'VHD';
  override readonly filename: string;
  readonly uuid: string;
  readonly #head: Head;
  readonly #header: Header;
  protected override readonly file: ImageFile;
  readonly #table: BlockTable;
  readonly #bitmaps: Pages;

  constructor(graph: Graph, node: NodeOptions, head: Head, { file, filename, size, permissions }: VpcOpening) {
    super(graph, node);
    refuseWriting(filename, 'VHD', node.readOnly);
    this.filename = filename;
    this.length = size;
    this.#head = head;
    const footer = parseFooter(head.footer);
    this.uuid = footer.uuid;
    this.#header = parseHeader(head.header, footer.dataOffset, size, file.filename);
    this.setChild('file', file, 'image', permissions);
    this.file = new ImageFile(() => this.primary!);
    this.#table = new BlockTable(this.file, this.#header, Math.ceil(size / this.#header.blockBytes));
    this.#bitmaps = new Pages(this.file);
  }

  /** Looks through the table, and for the parent's name. Rejects with `corrupt-image` for an image that was cut. */
  async begin(): Promise<void> {
    await endOfBlocks(this.file, this.#header);
    warnOfChecksum(this, this.#header);
    this.backingFile = await readParentName(this.primary!, this.#head.header);
    this.backingFormat = 'vpc';
  }

  /** The UUID that the parent must have. */
  get parentUuid(): string {
    return this.#header.parentUuid;
  }

  override get clusterBytes(): number {
    return this.#header.blockBytes;
  }

  protected override runAt(offset: number, length: number): OverlayRun | null {
    const { blockBytes, bitmapBytes } = this.#header;
    const first = Math.floor(offset / blockBytes);
    const place = this.#table.place(first);
    if (place === undefined) return null;
    const within = offset - first * blockBytes;
    if (place < 0) {
      let end = blockBytes - within;
      for (let index = first + 1; end < length && this.#table.place(index) === place; index++) end += blockBytes;
      return { place: HOLE, length: Math.min(end, length) };
    }
    const bits = this.#bitmaps.peek(place - bitmapBytes)?.bytes;
    if (bits === undefined) return null;
    const from = Math.floor(within / SECTOR_BYTES);
    const isHere = isHereBit(bits, from);
    const stop = Math.min(blockBytes, within + length);
    let sector = from + 1;
    while (sector * SECTOR_BYTES < stop && isHereBit(bits, sector) === isHere) sector++;
    return { place: isHere ? place + within : HOLE, length: Math.min(sector * SECTOR_BYTES, stop) - within };
  }

  protected override async load(offset: number): Promise<void> {
    const { blockBytes, bitmapBytes } = this.#header;
    const index = Math.floor(offset / blockBytes);
    const place = this.#table.place(index);
    if (place === undefined) await this.#table.linear.load(index);
    else await this.#bitmaps.load(place - bitmapBytes, bitmapBytes);
  }

  override get abilities(): Abilities {
    return { details: () => ({ clusterSize: this.#header.blockBytes, dirty: false }) };
  }

  protected override async doClose(): Promise<void> {
    this.#table.linear.pages.clear();
    this.#bitmaps.clear();
  }
}

/** The bits of a byte begin with the highest. */
function isHereBit(bits: Uint8Array, sector: number): boolean {
  return (bits[sector >>> 3] & (0x80 >>> (sector & 7))) !== 0;
}
