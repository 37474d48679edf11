// vdi: VirtualBox's image. Its map is one entry for each block (blocks/requests.ts); new blocks go behind those that the header counts, so that the count is raised
// on the disk before an entry points there.

import type { Abilities, CheckResult, RepairKind, RepairResult } from '../../../block/abilities.js';
import { formatNodeName } from '../../../block/filename.js';
import type { CheckFinding } from '../../../block/finding.js';
import type { Graph } from '../../../block/graph.js';
import type { BlockNode, NodeOptions } from '../../../block/node/node.js';
import type { NodeChange, PreparedReopen } from '../../../block/node/reopening.js';
import type { Permissions } from '../../../block/roles.js';
import { BlockError } from '../../../util/errors.js';
import { roundUp, SECTOR_BYTES } from '../../../util/numbers.js';
import { ImageFile } from '../../image-file.js';
import { Commits } from '../blocks/commits.js';
import { LinearTable } from '../blocks/linear-table.js';
import { BlocksNode } from '../blocks/node.js';
import { badEntry } from '../blocks/pages.js';
import { type BlockTables, HOLE, ZERO } from '../blocks/places.js';
import { unlessFull } from '../blocks/space.js';
import { checkVdi } from './check.js';
import { BLOCK_BYTES, DISCARDED, Field, type Header, parseHeader, UNALLOCATED } from './header.js';
import { repairVdi } from './repair.js';
import { VdiSpace } from './space.js';

export class VdiNode extends BlocksNode {
  override readonly driver = 'vdi';
  override readonly filename: string;
  override readonly blockBytes = BLOCK_BYTES;
  override readonly holesAreAllocated = true;
  override readonly hasZeroBlocks = true;
  override readonly file: ImageFile;
  override readonly tables: BlockTables;
  override readonly space: VdiSpace;
  readonly #header: Header;
  /** The header's bytes, of which all that is not understood is kept. */
  readonly #head: Uint8Array;
  readonly #map: LinearTable;
  readonly #commits: Commits;

  constructor(graph: Graph, node: NodeOptions, file: BlockNode, head: Uint8Array, permissions: Permissions) {
    super(graph, node);
    this.filename = formatNodeName(this.driver, {}, file);
    this.#header = parseHeader(head, file.filename);
    this.#head = head.slice();
    this.length = this.#header.size;
    const { mapOffset: offset, blocks: entries } = this.#header;
    // QEMU reads zeroes beyond the end, so that all blocks would lie in one place.
    if (offset + entries * 4 > roundUp(file.length, SECTOR_BYTES)) {
      throw BlockError.at(file.filename, 'invalid-image', 'The block map does not lie within the file', {
        operation: 'open',
      });
    }
    this.setChild('file', file, 'image', permissions);
    this.file = new ImageFile(() => this.primary!);
    this.#map = new LinearTable(this.file, { offset, entries, littleEndian: true });
    this.tables = this.#makeTables();
    this.space = new VdiSpace(this.file, this.#header);
    this.#commits = new Commits({
      file: this.file,
      levels: [this.#map.pages],
      prepare: () => this.#writeCount(this.space.count),
    });
  }

  #makeTables(): BlockTables {
    const map = this.#map;
    return {
      place: (index) => {
        const entry = map.get(index);
        return entry === undefined ? undefined : this.#placeOf(index, entry);
      },
      load: (index) => map.load(index),
      prepare: (first, last) => map.prepare(first, last),
      set: (index, place) => map.set(index, place === ZERO ? DISCARDED : this.#numberOf(place)),
      get changedBytes() {
        return map.pages.changedBytes;
      },
    };
  }

  #placeOf(index: number, entry: number): number {
    if (entry === UNALLOCATED) return HOLE;
    if (entry === DISCARDED) return ZERO;
    const { blocks, dataOffset, mapOffset } = this.#header;
    if (entry < blocks) return dataOffset + entry * BLOCK_BYTES;
    throw badEntry(this.filename, `block index ${index} too large, is ${entry}`, mapOffset + index * 4);
  }

  #numberOf(offset: number): number {
    return (offset - this.#header.dataOffset) / BLOCK_BYTES;
  }

  /** Writes how many blocks are in use, where the header says another number. */
  async #writeCount(allocated: number): Promise<void> {
    if (allocated === this.#header.allocated) return;
    new DataView(this.#head.buffer).setUint32(Field.allocated, allocated, true);
    await this.file.write(0, this.#head);
    this.#header.allocated = allocated;
  }

  override get looksIntoFile(): boolean {
    return this.#header.isStatic;
  }

  override commit(): Promise<void> {
    return this.#commits.commit();
  }

  override get abilities(): Abilities {
    return {
      details: () => ({ clusterSize: BLOCK_BYTES, dirty: false }),
      check: (report) => this.#check(report),
      repair: (kind, report) => this.alone('repair', () => this.#repair(kind, report)),
    };
  }

  async #check(report: (finding: CheckFinding) => void): Promise<CheckResult> {
    if (!this.readOnly) await this.commit();
    return checkVdi(this.file, this.#header, report);
  }

  async #repair(kind: RepairKind, report: (finding: CheckFinding) => void): Promise<RepairResult> {
    await this.commit();
    const before = await checkVdi(this.file, this.#header, report, kind);
    if (kind !== 'all') return { before, after: before };
    await this.#renumber();
    return { before, after: await checkVdi(this.file, this.#header, () => undefined) };
  }

  async #renumber(): Promise<void> {
    try {
      await repairVdi(this.file, this.#header, {
        map: this.#map,
        count: (allocated) => {
          this.space.forget();
          return this.#writeCount(allocated);
        },
        commit: () => this.commit(),
      });
    } catch (error) {
      // What the file says counts from here on: an entry that is not there yet must not be left in memory, since its block is free for others.
      this.#map.pages.clear();
      this.space.forget();
      throw error;
    }
  }

  override async prepareReopen({ readOnly = this.readOnly }: NodeChange): Promise<PreparedReopen | null> {
    if (!this.readOnly && readOnly) await this.#finish(false);
    return null;
  }

  /** All is in the file, which is no longer than it need be. `closes`: no read that was located can still go to a block, so that it may be moved. */
  async #finish(closes: boolean): Promise<void> {
    const before = this.space.count;
    const gaps = this.space.settle();
    await this.commit();
    // A copy takes blocks ahead, and gives those back that turn out to be zeroes: the header would count them.
    if (gaps > 0 && closes) await unlessFull(() => this.#renumber());
    const { count } = this.space;
    if (count < before) await this.file.cut(this.#header.dataOffset + count * BLOCK_BYTES);
    else await this.file.trim();
  }

  protected override async doClose(): Promise<void> {
    try {
      if (!this.readOnly) await this.#finish(true);
    } finally {
      this.#map.pages.clear();
    }
  }
}
