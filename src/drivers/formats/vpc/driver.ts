// vpc: a dynamic VHD image. Its table is one entry for each block (blocks/node.ts); new blocks go behind all others, and the footer behind them (footers.ts).

import type { Abilities } from '../../../block/abilities.js';
import type { Graph } from '../../../block/graph.js';
import type { BlockNode, NodeOptions } from '../../../block/node/node.js';
import type { NodeChange, PreparedReopen } from '../../../block/node/reopening.js';
import type { Permissions } from '../../../block/roles.js';
import type { Extent, Located, MovePlace, WriteFlags } from '../../../block/types.js';
import { ImageFile } from '../../image-file.js';
import { Commits } from '../blocks/commits.js';
import { BlocksNode } from '../blocks/node.js';
import type { BlockTables } from '../blocks/places.js';
import { refuseWrongChecksum, warnOfChecksum } from './checksum.js';
import { parseFooter } from './footer.js';
import { Footers } from './footers.js';
import type { Head } from './head.js';
import { type Header, parseHeader } from './header.js';
import { SectorBitmaps } from './sector-bitmaps.js';
import { endOfBlocks, VpcSpace } from './space.js';
import { BlockTable } from './table.js';

/** How an image is opened, beside its head. */
export interface VpcOpening {
  file: BlockNode;
  /** Of the node. */
  filename: string;
  /** Bytes of the disk. */
  size: number;
  permissions: Permissions;
}

export class VpcNode extends BlocksNode {
  override readonly driver = 'vpc';
  override readonly filename: string;
  readonly uuid: string;
  override readonly blockBytes: number;
  override readonly holesAreAllocated = true;
  override readonly file: ImageFile;
  override readonly tables: BlockTables;
  override readonly space: VpcSpace;
  readonly #header: Header;
  readonly #table: BlockTable;
  readonly #bitmaps: SectorBitmaps;
  readonly #footers: Footers;
  readonly #commits: Commits;

  constructor(graph: Graph, node: NodeOptions, head: Head, { file, filename, size, permissions }: VpcOpening) {
    super(graph, node);
    this.filename = filename;
    this.length = size;
    const footer = parseFooter(head.footer);
    this.uuid = footer.uuid;
    this.#header = parseHeader(head.header, footer.dataOffset, size, file.filename);
    const { blockBytes, bitmapBytes } = this.#header;
    this.blockBytes = blockBytes;
    this.setChild('file', file, 'image', permissions);
    this.file = new ImageFile(() => this.primary!);
    const blocks = Math.ceil(size / blockBytes);
    this.#table = new BlockTable(this.file, this.#header, blocks);
    this.#bitmaps = new SectorBitmaps(this.file, bitmapBytes, blocks);
    this.#footers = new Footers(this.file, head);
    this.tables = this.#makeTables();
    this.space = new VpcSpace(this.file, this.#header, this.#footers);
    this.#commits = new Commits({
      file: this.file,
      levels: [this.#table.linear.pages],
      prepare: async () => this.#footers.writeEnd(await this.space.end()),
    });
  }

  /** Looks through the table. Rejects with `corrupt-image` for an image that was cut, or whose header is damaged and that is to be written. */
  async load(): Promise<void> {
    refuseWrongChecksum(this.filename, this.#header, this.readOnly);
    if (this.readOnly) await endOfBlocks(this.file, this.#header);
    else await this.space.end();
    warnOfChecksum(this, this.#header);
  }

  #makeTables(): BlockTables {
    const table = this.#table;
    const { linear } = table;
    return {
      place: (index) => table.place(index),
      load: (index) => linear.load(index),
      prepare: (first, last) => linear.prepare(first, last),
      set: (index, place) => {
        this.#bitmaps.noteFull(index);
        table.set(index, place);
      },
      get changedBytes() {
        return linear.pages.changedBytes;
      },
    };
  }

  /** Null where no block of the range has bits that are not known to be set: blocks without a place will have all of them. */
  #fillBitmaps(offset: number, length: number): Promise<void> | null {
    const last = Math.floor((offset + length - 1) / this.blockBytes);
    for (let index = Math.floor(offset / this.blockBytes); index <= last; index++) {
      if (!this.#bitmaps.isFull(index)) return this.#fillFrom(index, last);
    }
    return null;
  }

  async #fillFrom(first: number, last: number): Promise<void> {
    for (let index = first; index <= last; index++) {
      if (this.#bitmaps.isFull(index)) continue;
      let place = this.#table.place(index);
      while (place === undefined) {
        await this.tables.load(index);
        place = this.#table.place(index);
      }
      if (place >= 0) await this.#bitmaps.fill(index, place);
    }
  }

  protected override doLocate(offset: number, length: number, write: boolean, into: Located): boolean {
    if (write) {
      const last = Math.floor((offset + length - 1) / this.blockBytes);
      for (let index = Math.floor(offset / this.blockBytes); index <= last; index++) {
        if (!this.#bitmaps.isFull(index)) return false;
      }
    }
    return super.doLocate(offset, length, write, into);
  }

  protected override async doWrite(offset: number, buffer: Uint8Array, flags: WriteFlags): Promise<void> {
    const filled = this.#fillBitmaps(offset, buffer.length);
    if (filled !== null) await filled;
    await super.doWrite(offset, buffer, flags);
  }

  protected override async doPrepareMove(extents: readonly Extent[], granule: number): Promise<MovePlace | null> {
    for (const { offset, length } of extents) await this.#fillBitmaps(offset, length);
    return super.doPrepareMove(extents, granule);
  }

  override commit(): Promise<void> {
    return this.#commits.commit();
  }

  override get abilities(): Abilities {
    return { details: () => ({ clusterSize: this.blockBytes, dirty: false }) };
  }

  override async prepareReopen({ readOnly = this.readOnly }: NodeChange): Promise<PreparedReopen | null> {
    refuseWrongChecksum(this.filename, this.#header, readOnly);
    if (!this.readOnly && readOnly) await this.#finish(false);
    if (this.readOnly && !readOnly) this.space.forget();
    return null;
  }

  /** All is in the file, which is no longer than it need be, and ends with its footer. `closes`: as for `BlockSpace.dropSpare`. */
  async #finish(closes: boolean): Promise<void> {
    await this.commit();
    if (closes) await this.space.dropSpare();
    await this.#footers.trim();
  }

  protected override async doClose(): Promise<void> {
    try {
      if (!this.readOnly) await this.#finish(true);
    } finally {
      this.#table.linear.pages.clear();
    }
  }
}
