// vhdx: a differencing image, which holds the sectors that were written since it was made; all others are those of its parent. It is only read.
//
//   block that is absent               the parent's
//   block of zeroes, or of nothing     zeroes
//   block that is there                its own
//   block that is there in part        by its bits in the sector bitmap, the first one the lowest of a byte: 1: its own, 0: the parent's

import type { Abilities, CheckResult } from '../../../block/abilities.js';
import { formatNodeName } from '../../../block/filename.js';
import type { CheckFinding } from '../../../block/finding.js';
import type { Graph } from '../../../block/graph.js';
import type { NodeOptions } from '../../../block/node/node.js';
import type { Located } from '../../../block/types.js';
import { hasBit } from '../blocks/bits.js';
import { OverlayNode, type OverlayRun, refuseWriting } from '../blocks/overlay.js';
import { badEntry, Pages } from '../blocks/pages.js';
import { HOLE, ZERO } from '../blocks/places.js';
import { surveyAll, type VhdxOpening } from './driver.js';
import type { Image } from './image.js';
import type { Parameters } from './metadata.js';
import type { ParentLocator } from './parent.js';
import { ReplayedFile } from './replayed-file.js';
import { BlockAllocationTable, type Entry, isBitmapPlace, isPlace, State, type TableShape } from './table.js';

/** Of the sector bitmap, at least so much is read at once. */
const LEAST_PAGE_BYTES = 4096;

export class VhdxDifferencingNode extends OverlayNode {
  override readonly driver = 'vhdx';
  override readonly filename: string;
  protected override readonly formatName = 'VHDX';
  protected override readonly file: ReplayedFile;
  readonly dataWriteGuid: string;
  /** GUIDs, one of which the parent's content has. */
  readonly linkages: readonly string[];
  readonly #parameters: Parameters;
  readonly #shape: TableShape;
  readonly #table: BlockAllocationTable;
  readonly #bitmaps: Pages;
  /** Bytes of the bits of one block. */
  readonly #bitBytes: number;

  constructor(graph: Graph, node: NodeOptions, image: Image, parent: ParentLocator, opening: VhdxOpening) {
    super(graph, node);
    const { file, permissions } = opening;
    refuseWriting(file.filename, 'VHDX', node.readOnly);
    this.filename = formatNodeName(this.driver, {}, file);
    this.length = image.parameters.size;
    this.dataWriteGuid = image.header.dataWriteGuid;
    this.linkages = parent.linkages;
    this.backingFile = parent.name;
    this.backingFormat = 'vhdx';
    this.#parameters = image.parameters;
    this.#shape = image.shape;
    this.setChild('file', file, 'image', permissions);
    this.file = new ReplayedFile(() => this.primary!, image.log);
    this.#table = new BlockAllocationTable(this.file, this.#shape, () => this.file.fullLength);
    this.#bitmaps = new Pages(this.file);
    this.#bitBytes = this.#parameters.blockBytes / this.#parameters.sectorBytes / 8;
  }

  override get clusterBytes(): number {
    return this.#parameters.blockBytes;
  }

  protected override runAt(offset: number, length: number): OverlayRun | null {
    const { blockBytes } = this.#parameters;
    const first = Math.floor(offset / blockBytes);
    const entry = this.#table.entry(first);
    if (entry === undefined) return null;
    const within = offset - first * blockBytes;
    const inBlock = Math.min(length, blockBytes - within);
    if (entry.state === State.partial) return this.#partAt(first, entry, within, inBlock);
    if (entry.state <= State.unmapped) return this.#placelessAt(first, entry, within, length);
    if (entry.state !== State.full) {
      throw badEntry(
        this.filename,
        `VHDX BAT entry ${first} has the state ${entry.state}, which is not valid`,
        entry.place,
      );
    }
    return { place: this.#placeOf(first, entry) + within, length: inBlock };
  }

  /** Blocks of one kind, from `first` on. */
  #placelessAt(first: number, entry: Entry, within: number, length: number): OverlayRun {
    const { blockBytes } = this.#parameters;
    const isHole = entry.state === State.notPresent;
    let end = blockBytes - within;
    for (let index = first + 1; end < length; index++) {
      const next = this.#table.entry(index);
      if (next === undefined || next.state > State.unmapped || (next.state === State.notPresent) !== isHole) break;
      end += blockBytes;
    }
    return { place: isHole ? HOLE : ZERO, length: Math.min(end, length) };
  }

  #placeOf(index: number, { place }: Entry): number {
    if (isPlace(this.#shape, index, place, this.file.fullLength)) return place;
    throw badEntry(this.filename, `VHDX BAT entry ${index} points to no place of a block: ${place}`, place);
  }

  #partAt(index: number, entry: Entry, within: number, length: number): OverlayRun | null {
    const place = this.#placeOf(index, entry);
    const page = this.#pageOf(index);
    if (page === null) return null;
    const bits = this.#bitmaps.peek(page.offset)?.bytes;
    if (bits === undefined) return null;
    const { sectorBytes } = this.#parameters;
    const from = Math.floor(within / sectorBytes);
    const isHere = hasBit(bits, page.firstBit + from);
    let sector = from + 1;
    while (sector * sectorBytes < within + length && hasBit(bits, page.firstBit + sector) === isHere) sector++;
    const end = Math.min(sector * sectorBytes, within + length);
    return { place: isHere ? place + within : HOLE, length: end - within };
  }

  /** The page of the sector bitmap with the bits of block `index`, and the first of these in it; null where its place is not in memory. */
  #pageOf(index: number): { offset: number; firstBit: number; bytes: number } | null {
    const { ratio } = this.#shape;
    const chunk = Math.floor(index / ratio);
    const entry = this.#table.bitmapEntry(chunk);
    if (entry === undefined) return null;
    const { state, place } = entry;
    if (state !== State.full || !isBitmapPlace(this.#shape, place, this.file.fullLength)) {
      throw badEntry(
        this.filename,
        `Block ${chunk} of the sector bitmap, of state ${state}, has no valid place: ${place}`,
        place,
      );
    }
    const bytes = Math.max(LEAST_PAGE_BYTES, this.#bitBytes);
    const at = (index % ratio) * this.#bitBytes;
    const within = at % bytes;
    return { offset: place + at - within, firstBit: within * 8, bytes };
  }

  protected override async load(offset: number): Promise<void> {
    const index = Math.floor(offset / this.#parameters.blockBytes);
    if (this.#table.entry(index) === undefined) return this.#table.load(index);
    const page = this.#pageOf(index);
    if (page === null) await this.#table.loadBitmapEntry(Math.floor(index / this.#shape.ratio));
    else await this.#bitmaps.load(page.offset, page.bytes);
  }

  protected override doLocate(offset: number, length: number, write: boolean, into: Located): boolean {
    return !this.file.hasLog && super.doLocate(offset, length, write, into);
  }

  override get abilities(): Abilities {
    return {
      details: () => ({ clusterSize: this.#parameters.blockBytes, dirty: this.file.hasLog }),
      check: (report) => this.#check(report),
    };
  }

  async #check(report: (finding: CheckFinding) => void): Promise<CheckResult> {
    return (await surveyAll(this.file, this.#shape, report)).result;
  }

  protected override async doClose(): Promise<void> {
    this.#table.pages.clear();
    this.#bitmaps.clear();
  }
}
