// vpc: a differencing VHD image, which holds the sectors that were written since it was made; all others are those of its parent. It is only read.
//
//   block without a place            the parent's
//   block with one, by its bitmap    1: the sector in the block, 0: the parent's

import type { Abilities } from '../../../block/abilities.js';
import type { Graph } from '../../../block/graph.js';
import { FormatNode } from '../../../block/node/format.js';
import type { NodeOptions } from '../../../block/node/node.js';
import type { NodeChange, PreparedReopen } from '../../../block/node/reopening.js';
import type { BlockStatus, Located } from '../../../block/types.js';
import type { ZeroScan } from '../../../host/host.js';
import { BlockError } from '../../../util/errors.js';
import { SECTOR_BYTES } from '../../../util/numbers.js';
import { later, settleAll } from '../../../util/settle.js';
import { ImageFile } from '../../image-file.js';
import { Pages } from '../blocks/pages.js';
import { holeRun } from '../blocks/places.js';
import { warnOfChecksum } from './checksum.js';
import type { VpcOpening } from './driver.js';
import { parseFooter } from './footer.js';
import type { Head } from './head.js';
import { type Header, parseHeader } from './header.js';
import { readParentName } from './parent.js';
import { endOfBlocks } from './space.js';
import { BlockTable } from './table.js';

/** A run of sectors that lie together. */
interface Run {
  /** In the file; -1: they are the parent's. */
  place: number;
  length: number;
}

/** Throws `read-only` where a differencing image is to be written. */
function refuseWriting(filename: string, readOnly: boolean): void {
  if (readOnly) return;
  throw BlockError.at(filename, 'read-only', 'A differencing VHD image can only be read', { operation: 'open' });
}

export class DifferencingNode extends FormatNode {
  override readonly driver = 'vpc';
  override readonly filename: string;
  readonly uuid: string;
  readonly #head: Head;
  readonly #header: Header;
  readonly #file: ImageFile;
  readonly #table: BlockTable;
  readonly #bitmaps: Pages;

  constructor(graph: Graph, node: NodeOptions, head: Head, { file, filename, size, permissions }: VpcOpening) {
    super(graph, node);
    refuseWriting(filename, node.readOnly);
    this.filename = filename;
    this.length = size;
    this.#head = head;
    const footer = parseFooter(head.footer);
    this.uuid = footer.uuid;
    this.#header = parseHeader(head.header, footer.dataOffset, size, file.filename);
    this.setChild('file', file, 'image', permissions);
    this.#file = new ImageFile(() => this.primary!);
    this.#table = new BlockTable(this.#file, this.#header, Math.ceil(size / this.#header.blockBytes));
    this.#bitmaps = new Pages(this.#file);
  }

  /** Looks through the table, and for the parent's name. Rejects with `corrupt-image` for an image that was cut. */
  async load(): Promise<void> {
    await endOfBlocks(this.#file, this.#header);
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

  /** Null where something is to be read first. */
  #runAt(offset: number, length: number): Run | null {
    const { blockBytes, bitmapBytes } = this.#header;
    const first = Math.floor(offset / blockBytes);
    const place = this.#table.place(first);
    if (place === undefined) return null;
    const within = offset - first * blockBytes;
    if (place < 0) {
      let end = blockBytes - within;
      for (let index = first + 1; end < length && this.#table.place(index) === place; index++) end += blockBytes;
      return { place: -1, length: Math.min(end, length) };
    }
    const bits = this.#bitmaps.peek(place - bitmapBytes)?.bytes;
    if (bits === undefined) return null;
    const from = Math.floor(within / SECTOR_BYTES);
    const isHere = hasBit(bits, from);
    const stop = Math.min(blockBytes, within + length);
    let sector = from + 1;
    while (sector * SECTOR_BYTES < stop && hasBit(bits, sector) === isHere) sector++;
    return { place: isHere ? place + within : -1, length: Math.min(sector * SECTOR_BYTES, stop) - within };
  }

  async #loadedRun(offset: number, length: number): Promise<Run> {
    const { blockBytes, bitmapBytes } = this.#header;
    const index = Math.floor(offset / blockBytes);
    for (;;) {
      const run = this.#runAt(offset, length);
      if (run !== null) return run;
      const place = this.#table.place(index);
      if (place === undefined) await this.#table.linear.load(index);
      else await this.#bitmaps.load(place - bitmapBytes, bitmapBytes);
    }
  }

  protected override doLocate(offset: number, length: number, write: boolean, into: Located): boolean {
    if (write) return false;
    const run = this.#runAt(offset, length);
    return (
      run !== null && run.place >= 0 && run.length === length && this.primary!.locate(run.place, length, false, into)
    );
  }

  protected override async doRead(offset: number, buffer: Uint8Array, scan?: ZeroScan): Promise<void> {
    const parts: Promise<void>[] = [];
    let failure: { error: unknown } | null = null;
    try {
      for (let done = 0; done < buffer.length; ) {
        const run = await this.#loadedRun(offset + done, buffer.length - done);
        const target = buffer.subarray(done, done + run.length);
        const part =
          run.place < 0 ? this.#readParent(offset + done, target) : this.#file.read(run.place, target, 'read_aio');
        parts.push(later(part));
        done += run.length;
      }
    } catch (error) {
      failure = { error };
    }
    await settleAll(parts, failure);
    if (scan !== undefined) this.host.memory.zeroMap(buffer, scan.granule, scan.map);
  }

  /** What the parent has, up to its end; zeroes beyond. */
  async #readParent(offset: number, buffer: Uint8Array): Promise<void> {
    const parent = this.cow;
    const inside = parent === null ? 0 : Math.max(0, Math.min(buffer.length, parent.length - offset));
    buffer.fill(0, inside);
    if (inside > 0) await parent!.read(offset, buffer.subarray(0, inside));
  }

  override blockStatusSync(offset: number, length: number): BlockStatus | null {
    const run = this.#runAt(offset, length);
    return run === null ? null : this.#statusOf(run, offset);
  }

  protected override async doBlockStatus(offset: number, length: number): Promise<BlockStatus> {
    return this.#statusOf(await this.#loadedRun(offset, length), offset);
  }

  #statusOf({ place, length }: Run, at: number): BlockStatus {
    if (place < 0) {
      const hole = holeRun(this.cow, at, length);
      return { ...hole, compressed: false, allocated: false, data: false, offset: -1, node: null };
    }
    const { node } = this.primary!;
    return { length, compressed: false, allocated: true, data: true, zero: false, offset: place, node };
  }

  override get abilities(): Abilities {
    return { details: () => ({ clusterSize: this.#header.blockBytes, dirty: false }) };
  }

  override async prepareReopen({ readOnly = this.readOnly }: NodeChange): Promise<PreparedReopen | null> {
    refuseWriting(this.filename, readOnly);
    return null;
  }

  protected override async doClose(): Promise<void> {
    this.#table.linear.pages.clear();
    this.#bitmaps.clear();
  }
}

function hasBit(bits: Uint8Array, sector: number): boolean {
  return (bits[sector >>> 3] & (0x80 >>> (sector & 7))) !== 0;
}
