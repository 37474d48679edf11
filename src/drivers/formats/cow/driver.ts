// cow: an image of user-mode-linux over a backing file. A bitmap says which sectors were written; those lie in the file where they lie on the disk.
//
//   disk     | backing's | written | written | backing's |
//   bitmap     0           1         1         0
//   file     | bitmap | hole | written | written | hole |
//
// A sector is written before its bit is set in memory, and is durable before the bit is written: so after a loss of power a set bit stands for a sector that is there.

import type { Abilities } from '../../../block/abilities.js';
import { skipFilters } from '../../../block/chain.js';
import { formatNodeName } from '../../../block/filename.js';
import type { Graph } from '../../../block/graph.js';
import { FormatNode } from '../../../block/node/format.js';
import type { BlockNode, NodeOptions } from '../../../block/node/node.js';
import type { NodeChange, PreparedReopen } from '../../../block/node/reopening.js';
import type { Permissions } from '../../../block/roles.js';
import type { BlockStatus, Located, WriteFlags, ZeroFlags } from '../../../block/types.js';
import type { ZeroScan } from '../../../host/host.js';
import { BlockError } from '../../../util/errors.js';
import { SECTOR_BYTES } from '../../../util/numbers.js';
import { later, settleAll } from '../../../util/settle.js';
import { ImageFile } from '../../image-file.js';
import { Commits } from '../blocks/commits.js';
import { holeRun, MAX_CHANGED_BYTES, readBelow } from '../blocks/places.js';
import { describeFile } from './backing.js';
import { SectorBitmap } from './bitmap.js';
import { encodeDate, type Header, parseHeader } from './header.js';

/** A part of a request: bytes. */
interface Run {
  isWritten: boolean;
  length: number;
}

export class CowNode extends FormatNode {
  override readonly driver = 'cow';
  override readonly filename: string;
  override requestAlignment = SECTOR_BYTES;
  readonly #header: Header;
  readonly #file: ImageFile;
  readonly #bitmap: SectorBitmap;
  readonly #commits: Commits;
  /** It was made empty, and nothing was written since. */
  #isEmpty = false;

  constructor(graph: Graph, node: NodeOptions, file: BlockNode, head: Uint8Array, permissions: Permissions) {
    super(graph, node);
    this.filename = formatNodeName(this.driver, {}, file);
    this.#header = parseHeader(head, file.length, file.filename);
    if (!this.readOnly) this.#checkWritable();
    this.length = this.#header.size;
    this.backingFile = this.#header.backingFile;
    // It is never looked into: user-mode-linux takes the bytes as they are.
    this.backingFormat = this.backingFile === null ? null : 'raw';
    this.setChild('file', file, 'image', permissions);
    this.#file = new ImageFile(() => this.primary!);
    this.#bitmap = new SectorBitmap(this.#file, this.#header);
    this.#commits = new Commits({ file: this.#file, levels: [this.#bitmap.pages] });
  }

  /** Throws `unsupported`. */
  #checkWritable(): void {
    const { version } = this.#header;
    if (version >= 3) return;
    throw BlockError.at(this.filename, 'unsupported', `A COW image of version ${version} is only read`, {
      operation: 'open',
    });
  }

  /** When the backing file was changed last, as the header has it: seconds since 1970. */
  get backingDate(): number {
    return this.#header.date;
  }

  // ---- reads ----------------------------------------------------------------------------------------------------

  /** Offset and length are whole sectors. Null where the bitmap is to be read first. Throws `corrupt-image`. */
  #runAt(offset: number, length: number): Run | null {
    const run = this.#bitmap.run(offset / SECTOR_BYTES, Math.ceil(length / SECTOR_BYTES));
    if (run === null) return null;
    const bytes = Math.min(run.sectors * SECTOR_BYTES, length);
    // The last sector of the file may be cut where the disk ends within it.
    if (run.isWritten && this.#placeOf(offset) + bytes - SECTOR_BYTES >= this.#file.length) {
      throw BlockError.at(this.filename, 'corrupt-image', 'A sector that was written lies beyond the end of the file', {
        offset: this.#placeOf(offset),
        operation: 'look up',
      });
    }
    return { isWritten: run.isWritten, length: bytes };
  }

  async #loadedRun(offset: number, length: number): Promise<Run> {
    for (;;) {
      const run = this.#runAt(offset, length);
      if (run !== null) return run;
      await this.#bitmap.load(offset / SECTOR_BYTES);
    }
  }

  #placeOf(offset: number): number {
    return this.#header.dataOffset + offset;
  }

  protected override doLocate(offset: number, length: number, write: boolean, into: Located): boolean {
    if (!this.isWhole(offset, length)) return false;
    const run = this.#runAt(offset, length);
    if (run === null || !run.isWritten || run.length < length) return false;
    return this.primary!.locate(this.#placeOf(offset), length, write, into);
  }

  protected override async doRead(offset: number, buffer: Uint8Array, scan?: ZeroScan): Promise<void> {
    const parts: Promise<void>[] = [];
    let failure: { error: unknown } | null = null;
    try {
      for (let done = 0; done < buffer.length; ) {
        const at = offset + done;
        const run = await this.#loadedRun(at, buffer.length - done);
        const target = buffer.subarray(done, done + run.length);
        const part = run.isWritten
          ? this.#file.read(this.#placeOf(at), target, 'read_aio')
          : readBelow(this.#file, this.cow, at, target);
        parts.push(later(part));
        done += run.length;
      }
    } catch (error) {
      failure = { error };
    }
    await settleAll(parts, failure);
    if (scan !== undefined) this.host.memory.zeroMap(buffer, scan.granule, scan.map);
  }

  override blockStatusSync(offset: number, length: number): BlockStatus | null {
    const run = this.#statusRun(offset, length);
    return run === null ? null : this.#statusOf(run, offset);
  }

  protected override async doBlockStatus(offset: number, length: number): Promise<BlockStatus> {
    for (;;) {
      const run = this.#statusRun(offset, length);
      if (run !== null) return this.#statusOf(run, offset);
      await this.#bitmap.load(Math.floor(offset / SECTOR_BYTES));
    }
  }

  /** The same of any range. */
  #statusRun(offset: number, length: number): Run | null {
    const lead = offset % SECTOR_BYTES;
    const run = this.#runAt(offset - lead, lead + length);
    return run === null ? null : { ...run, length: run.length - lead };
  }

  #statusOf({ isWritten, length }: Run, offset: number): BlockStatus {
    if (!isWritten) {
      const hole = holeRun(this.cow, offset, length);
      return { ...hole, compressed: false, allocated: false, data: false, offset: -1, node: null };
    }
    const { node } = this.primary!;
    const place = { offset: this.#placeOf(offset), node };
    return { length, compressed: false, allocated: true, data: true, zero: false, ...place };
  }

  // ---- writes: whole sectors ------------------------------------------------------------------------------------

  protected override async doWrite(offset: number, buffer: Uint8Array, _flags: WriteFlags): Promise<void> {
    await this.#change(offset, buffer.length, () => this.#file.write(this.#placeOf(offset), buffer, 'write_aio'));
  }

  protected override async doWriteZeroes(offset: number, length: number, flags: ZeroFlags): Promise<void> {
    const { mayUnmap, noFallback } = flags;
    await this.#change(offset, length, async () => {
      this.#file.unflushed = true;
      await this.primary!.writeZeroes(this.#placeOf(offset), length, { mayUnmap, noFallback });
    });
  }

  /** Does `action`, which fills sectors of the file, and then marks them as written. */
  async #change(offset: number, length: number, action: () => Promise<void>): Promise<void> {
    if (this.#bitmap.pages.changedBytes > MAX_CHANGED_BYTES) await this.#commits.commit();
    const first = offset / SECTOR_BYTES;
    const end = first + length / SECTOR_BYTES;
    const release = await this.#bitmap.prepare(first, end);
    try {
      await this.#file.ensureLength(this.#placeOf(offset + length));
      await action();
      this.#bitmap.mark(first, end);
      this.#isEmpty = false;
    } finally {
      release();
    }
  }

  /** Sectors that were written read as zeroes, or as before; all others are the backing file's, and stay so. */
  protected override async doDiscard(offset: number, length: number): Promise<void> {
    for (let done = 0; done < length; ) {
      const run = await this.#loadedRun(offset + done, length - done);
      if (run.isWritten) await this.#file.discard(this.#placeOf(offset + done), run.length);
      done += run.length;
    }
  }

  protected override async doFlush(): Promise<void> {
    if (this.readOnly) return super.doFlush();
    await this.#commits.commit();
  }

  /**
   * Marks no sector as written; the date of the backing file, which was changed, is noted first: user-mode-linux opens the image then. Who reads sectors meanwhile may still
   * do so: their space is given back when the image is closed.
   */
  protected override async doMakeEmpty(): Promise<void> {
    await this.#commits.commit();
    const { bitmapOffset, dataOffset, dateField } = this.#header;
    const below = this.cow === null ? null : await describeFile(skipFilters(this.cow.node));
    if (below !== null && below.date !== this.#header.date) {
      await this.#file.write(dateField.offset, encodeDate(this.#header, below.date));
      this.#header.date = below.date;
    }
    await this.#file.writeZeroes(bitmapOffset, dataOffset - bitmapOffset);
    await this.#file.flush();
    this.#bitmap.pages.clear();
    this.#isEmpty = true;
  }

  // ---- what it says of itself -----------------------------------------------------------------------------------

  override get abilities(): Abilities {
    return { details: () => ({ dirty: false }) };
  }

  override async prepareReopen({ readOnly = this.readOnly }: NodeChange): Promise<PreparedReopen | null> {
    if (!this.readOnly && readOnly) await this.#finish();
    if (this.readOnly && !readOnly) this.#checkWritable();
    return null;
  }

  /** All is in the file, which is no longer than it need be. */
  async #finish(): Promise<void> {
    await this.#commits.commit();
    await this.#file.trim();
  }

  /** Gives back what `makeEmpty` has dropped. Only at the close: before it, a read that was located may still go there. */
  async #dropUnused(): Promise<void> {
    const { dataOffset } = this.#header;
    if (this.#isEmpty) await this.#file.discard(dataOffset, this.#file.length - dataOffset);
  }

  protected override async doClose(): Promise<void> {
    try {
      if (this.readOnly) return;
      await this.#finish();
      await this.#dropUnused();
    } finally {
      this.#bitmap.pages.clear();
    }
  }
}
