// vhdx: a dynamic or fixed image of Hyper-V. Its table is one entry for each block (blocks/node.ts); changes of it go through the log (log-writer.ts).
//
// An image that was not closed properly is read through its log, and replayed before it is written (`becomeWritable`). Before the first change, the table is looked through and the header gets
// new GUIDs (`begin`).

import type { Abilities, CheckResult, RepairKind, RepairResult } from '../../../block/abilities.js';
import { formatNodeName } from '../../../block/filename.js';
import type { CheckFinding } from '../../../block/finding.js';
import type { Graph } from '../../../block/graph.js';
import type { BlockNode, NodeOptions } from '../../../block/node/node.js';
import type { NodeChange, PreparedReopen } from '../../../block/node/reopening.js';
import type { Permissions } from '../../../block/roles.js';
import type { Located } from '../../../block/types.js';
import { BlockError } from '../../../util/errors.js';
import { roundUp } from '../../../util/numbers.js';
import { BegunBlocksNode } from '../blocks/begun-node.js';
import { Commits } from '../blocks/commits.js';
import { type Survey, survey } from './check.js';
import { VHDX_FINDING_WORDS } from './finding-words.js';
import { NO_GUID, randomGuid } from './guid.js';
import { MIB } from './header.js';
import { HeaderStore } from './header-store.js';
import type { Image } from './image.js';
import { LogWriter } from './log-writer.js';
import type { Parameters } from './metadata.js';
import { findBadRegionTable } from './regions.js';
import { mendRegionTable, repairTable } from './repair.js';
import { ReplayedFile } from './replayed-file.js';
import { VhdxSpace } from './space.js';
import { BlockAllocationTable, type TableShape } from './table.js';

/** How an image is opened, beside what it says itself. */
export interface VhdxOpening {
  file: BlockNode;
  permissions: Permissions;
}

/** Of the whole image: as `survey`, and of the log and the region tables, too. A log that is to be replayed counts as a corruption, as for QEMU. */
export async function surveyAll(
  file: ReplayedFile,
  shape: TableShape,
  report: (finding: CheckFinding) => void,
  kind?: RepairKind,
): Promise<Survey> {
  if (file.hasLog) report({ kind: 'vhdx-log', severity: 'corruption', ...(kind !== undefined && { repairs: true }) });
  const bad = await findBadRegionTable(file);
  if (bad !== null) {
    const { index, offset, isOther } = bad;
    const at = { index, hostOffset: offset, reason: isOther ? 'other' : 'broken' };
    report({ kind: 'vhdx-region-table', severity: 'corruption', ...at, ...(kind === 'all' && { repairs: true }) });
  }
  const found = await survey(file, shape, file.fullLength, report, kind);
  found.result.corruptions += Number(file.hasLog) + Number(bad !== null);
  return found;
}

export class VhdxNode extends BegunBlocksNode {
  override readonly driver = 'vhdx';
  override readonly filename: string;
  override readonly blockBytes: number;
  override readonly holesAreAllocated = true;
  override readonly hasZeroBlocks = true;
  override readonly file: ReplayedFile;
  override readonly tables: BlockAllocationTable;
  override readonly space: VhdxSpace;
  readonly #parameters: Parameters;
  readonly #shape: TableShape;
  readonly #store: HeaderStore;
  readonly #log: LogWriter;
  readonly #commits: Commits;
  /** The file is in use up to there, and has been so long since before the commit's first flush: what the log's entries say of it. */
  #flushedEnd = 0;

  constructor(graph: Graph, node: NodeOptions, image: Image, { file, permissions }: VhdxOpening) {
    super(graph, node);
    this.filename = formatNodeName(this.driver, {}, file);
    this.#parameters = image.parameters;
    this.#shape = image.shape;
    this.length = image.parameters.size;
    this.blockBytes = image.parameters.blockBytes;
    this.setChild('file', file, 'image', permissions);
    this.file = new ReplayedFile(() => this.primary!, image.log);
    this.tables = new BlockAllocationTable(this.file, this.#shape, () => this.file.fullLength);
    this.space = new VhdxSpace(this.file, this.#shape);
    this.#store = new HeaderStore(this.file, image.header);
    this.#log = new LogWriter(this.file, this.#store, this.#random);
    this.#commits = new Commits({
      file: this.file,
      levels: [this.tables.pages],
      prepare: async () => {
        // A block that is being taken counts for `space.end` before the file has grown for it.
        this.#flushedEnd = Math.min(this.space.end, this.file.length);
      },
      write: (patches) => this.#log.write(patches, this.#flushedEnd),
    });
  }

  readonly #random = (): number => this.host.random();

  /** The log's entries are in the file itself, and count no longer. Rejects with `io`, `no-space`. */
  async becomeWritable(): Promise<void> {
    await this.file.replay();
    if (this.#store.header.logGuid === NO_GUID) return;
    await this.#store.change({ logGuid: NO_GUID, fileWriteGuid: randomGuid(this.#random) });
  }

  /** Throws `invalid-image` where the image says of a structure that it lies where the file does not go: new blocks would go behind it. */
  #refuseUnwritable(operation: string): void {
    const end = this.#shape.regions.all.at(-1)![1];
    if (end <= roundUp(this.file.fullLength, MIB)) return;
    const reason = `A region ends at ${end}, and the file at ${this.file.fullLength}: the image is only read`;
    throw BlockError.at(this.filename, 'invalid-image', reason, { operation });
  }

  /** Before the first change. Rejects with `corrupt-image` where an entry points to no place of its own, `no-space`, `io`. */
  protected override async begin(): Promise<void> {
    this.#refuseUnwritable('write');
    await this.becomeWritable();
    const fault = await this.#survey((finding) => {
      const reason = `${VHDX_FINDING_WORDS[finding.kind]!(finding)}: the image is to be repaired before it is written to`;
      throw BlockError.at(this.filename, 'corrupt-image', reason, { operation: 'write' });
    });
    await this.#beginWith(fault);
    await this.#store.change({
      fileWriteGuid: randomGuid(this.#random),
      dataWriteGuid: randomGuid(this.#random),
    });
  }

  /** The log and the space are ready for changes of the table. */
  async #beginWith(found: Survey): Promise<void> {
    const { logOffset, logBytes } = this.#store.header;
    if (this.#log.capacity === 0 || logOffset + logBytes > this.file.length) {
      const reason = 'The log has no room: the image is only read';
      throw BlockError.at(this.filename, 'corrupt-image', reason, { operation: 'write' });
    }
    await this.#log.reserve();
    this.space.begin(found);
    // The last block may have been cut off.
    await this.file.ensureLength(this.space.end);
  }

  /** Where the file is cut. A fixed image keeps room for all its blocks, those without a place too. */
  get #endInUse(): number {
    const { isFixed, blockBytes } = this.#parameters;
    const { blocks, regions } = this.#shape;
    const room = isFixed ? roundUp(regions.all.at(-1)![1], MIB) + blocks * blockBytes : 0;
    return Math.max(this.space.end, room);
  }

  /** Changes with each change of the disk: a differencing image knows its parent by it. */
  get dataWriteGuid(): string {
    return this.#store.header.dataWriteGuid;
  }

  #survey(report: (finding: CheckFinding) => void, kind?: RepairKind): Promise<Survey> {
    return survey(this.file, this.#shape, this.file.fullLength, report, kind);
  }

  override get looksIntoFile(): boolean {
    return this.#parameters.isFixed;
  }

  protected override doLocate(offset: number, length: number, write: boolean, into: Located): boolean {
    return !this.file.hasLog && super.doLocate(offset, length, write, into);
  }

  override commit(): Promise<void> {
    return this.#commits.commit();
  }

  override get abilities(): Abilities {
    return {
      details: () => ({ clusterSize: this.blockBytes, dirty: this.file.hasLog }),
      check: (report) => this.#check(report),
      repair: (kind, report) => this.alone('repair', () => this.#repair(kind, report)),
    };
  }

  async #check(report: (finding: CheckFinding) => void): Promise<CheckResult> {
    if (!this.readOnly) await this.commit();
    return (await this.#findAll(report)).result;
  }

  #findAll(report: (finding: CheckFinding) => void, kind?: RepairKind): Promise<Survey> {
    return surveyAll(this.file, this.#shape, report, kind);
  }

  async #repair(kind: RepairKind, report: (finding: CheckFinding) => void): Promise<RepairResult> {
    this.#refuseUnwritable('repair');
    await this.commit();
    const { result: before } = await this.#findAll(report, kind);
    await this.becomeWritable();
    this.tables.pages.clear();
    if (kind === 'all') await this.#mendRegionTable();
    const found = await this.#survey(() => undefined);
    if (kind === 'all' && found.result.corruptions > 0) {
      await this.#beginWith(found);
      await this.#store.change({ fileWriteGuid: randomGuid(this.#random), dataWriteGuid: randomGuid(this.#random) });
      await repairTable(found, {
        file: this.file,
        tables: this.tables,
        space: this.space,
        blockBytes: this.blockBytes,
        commit: () => this.commit(),
      });
      await this.#log.release();
      await this.file.cut(this.#endInUse);
    }
    const { result: after } = await this.#findAll(() => undefined);
    return { before, after };
  }

  /** The region table that does not count says what the other one says, which is not touched. Rejects with `io`, `no-space`; then this can be done again. */
  async #mendRegionTable(): Promise<void> {
    const bad = await findBadRegionTable(this.file);
    if (bad === null) return;
    await this.#store.change({ fileWriteGuid: randomGuid(this.#random) });
    await mendRegionTable(this.file, bad);
  }

  override async prepareReopen({ readOnly = this.readOnly }: NodeChange): Promise<PreparedReopen | null> {
    if (!this.readOnly && readOnly) await this.#finish(false);
    if (!this.readOnly || readOnly) return null;
    return { commit: () => undefined, complete: () => this.becomeWritable(), revert: () => undefined };
  }

  /** All is in the file, which ends with what is in use, and no entry of the log counts. `closes`: as for `BlockSpace.dropSpare`. */
  async #finish(closes: boolean): Promise<void> {
    await this.commit();
    if (closes) await this.space.dropSpare();
    await this.#log.release();
    if (!this.isBegun) return;
    await this.file.cut(this.#endInUse);
    this.isBegun = false;
  }

  protected override async doClose(): Promise<void> {
    try {
      if (!this.readOnly) await this.#finish(true);
    } finally {
      this.tables.pages.clear();
    }
  }
}
