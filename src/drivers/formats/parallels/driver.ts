// parallels: the image of Parallels. Its table is one entry for each cluster (blocks/node.ts); new clusters go behind all others.
//
// The header says that the image is in use from the first change on (`begin`, durable before anything else is written) until it is closed, or is only read again.

import type { Abilities, CheckResult, RepairKind, RepairResult } from '../../../block/abilities.js';
import { formatNodeName } from '../../../block/filename.js';
import type { CheckFinding } from '../../../block/finding.js';
import type { Graph } from '../../../block/graph.js';
import type { BlockNode, NodeOptions } from '../../../block/node/node.js';
import type { NodeChange, PreparedReopen } from '../../../block/node/reopening.js';
import type { Permissions } from '../../../block/roles.js';
import { BlockError } from '../../../util/errors.js';
import { isPowerOfTwo } from '../../../util/numbers.js';
import { ImageFile } from '../../image-file.js';
import { BegunBlocksNode } from '../blocks/begun-node.js';
import { Commits } from '../blocks/commits.js';
import { checkParallels } from './check.js';
import { readBitmaps, refuseNecessary } from './extension.js';
import { type Header, IN_USE, parseHeader, Word } from './header.js';
import { firstPlace, ParallelsSpace } from './space.js';
import { ClusterTable } from './table.js';

export class ParallelsNode extends BegunBlocksNode {
  override readonly driver = 'parallels';
  override readonly filename: string;
  override readonly blockBytes: number;
  override readonly file: ImageFile;
  override readonly tables: ClusterTable;
  override readonly space: ParallelsSpace;
  readonly #header: Header;
  readonly #commits: Commits;

  constructor(graph: Graph, node: NodeOptions, file: BlockNode, head: Uint8Array, permissions: Permissions) {
    super(graph, node);
    this.filename = formatNodeName(this.driver, {}, file);
    this.#header = parseHeader(head, file.filename);
    this.length = this.#header.size;
    this.blockBytes = this.#header.clusterBytes;
    this.setChild('file', file, 'image', permissions);
    this.file = new ImageFile(() => this.primary!);
    this.tables = new ClusterTable(this.file, this.#header);
    this.space = new ParallelsSpace(this.file, this.#header);
    this.#commits = new Commits({ file: this.file, levels: [this.tables.words.pages] });
  }

  /** What else is known of the image when it is opened. Rejects with `corrupt-image` for one that was not closed and is to be written, `invalid-image`, `io`. */
  async load(forRepair: boolean): Promise<void> {
    if (!forRepair) this.#refuseInUse(this.readOnly);
    const { extensionOffset } = this.#header;
    if (extensionOffset === 0) return;
    if (!this.readOnly) {
      this.graph.warn('warning: Format Extension ignored in RW mode');
      return;
    }
    for (const bitmap of await readBitmaps(this.file, this.#header)) this.bitmaps.set(bitmap.name!, bitmap);
  }

  #refuseInUse(readOnly: boolean): void {
    if (!this.#header.inUse || readOnly) return;
    const reason = 'parallels: Image was not closed correctly; cannot be opened read/write';
    throw BlockError.at(this.filename, 'corrupt-image', reason, { operation: 'open' });
  }

  /** Before the first change: the image is marked as in use. Rejects with `corrupt-image` where an entry points out of it, `unsupported`, `no-space`, `io`. */
  protected override async begin(): Promise<void> {
    if (this.#header.extensionOffset !== 0) await refuseNecessary(this.file, this.#header);
    const { outside, end } = await checkParallels(this.file, this.#header, () => undefined);
    if (outside.length > 0) {
      const reason = `cluster ${outside[0]} is outside image: it is to be repaired before it is written to`;
      throw BlockError.at(this.filename, 'corrupt-image', reason, { operation: 'write' });
    }
    // The last cluster may have been cut off.
    await this.file.ensureLength(end);
    this.space.begin(end);
    await this.#setUse(IN_USE);
    this.#header.extensionOffset = 0;
  }

  /** Writes to the header whether the image is in use; the extension goes, since nobody keeps it. */
  async #setUse(value: number): Promise<void> {
    const { words } = this.tables;
    const release = await words.prepare(0, Word.extensionHigh);
    words.set(Word.inUse, value);
    words.set(Word.extension, 0);
    words.set(Word.extensionHigh, 0);
    release();
    await this.commit();
  }

  override get clusterBytes(): number {
    return isPowerOfTwo(this.blockBytes) ? this.blockBytes : 0;
  }

  override commit(): Promise<void> {
    return this.#commits.commit();
  }

  override get abilities(): Abilities {
    return {
      details: () => ({}),
      check: (report) => this.#check(report),
      repair: (kind, report) => this.alone('repair', () => this.#repair(kind, report)),
    };
  }

  async #check(report: (finding: CheckFinding) => void): Promise<CheckResult> {
    if (!this.readOnly) await this.commit();
    return (await checkParallels(this.file, this.#header, report)).result;
  }

  /** Afterwards all entries point into the image, it ends with the last cluster, and it counts as closed. */
  async #repair(kind: RepairKind, report: (finding: CheckFinding) => void): Promise<RepairResult> {
    await this.commit();
    const { result: before, outside, end } = await checkParallels(this.file, this.#header, report, kind);
    if (kind === 'all') {
      for (const index of outside) {
        const release = await this.tables.prepare(index, index);
        this.tables.set(index, 0);
        release();
      }
      await this.commit();
    }
    // Entries that stay may point to what lies behind.
    if (kind === 'all' || outside.length === 0) {
      // A table that says to be longer than the file needs no place in it while no cluster is in use.
      if (end > firstPlace(this.#header)) await this.file.ensureLength(end);
      if (end <= this.file.length) await this.file.cut(end);
    }
    if (kind === 'all' && this.#header.inUse) {
      await this.#setUse(0);
      this.#header.inUse = false;
    }
    await this.commit();
    const isMended = before.leaks > 0 || (kind === 'all' && before.corruptions > 0);
    if (!isMended) return { before, after: before };
    return { before, after: (await checkParallels(this.file, this.#header, () => undefined)).result };
  }

  override async prepareReopen({ readOnly = this.readOnly }: NodeChange): Promise<PreparedReopen | null> {
    this.#refuseInUse(readOnly);
    if (!this.readOnly && readOnly) await this.#finish();
    return null;
  }

  /** All is in the file, which ends with the last cluster, and the header says that the image is closed. */
  async #finish(): Promise<void> {
    await this.commit();
    if (!this.isBegun) return;
    await this.file.cut(this.space.settle());
    await this.#setUse(0);
    this.isBegun = false;
  }

  protected override async doClose(): Promise<void> {
    try {
      if (!this.readOnly) await this.#finish();
    } finally {
      this.tables.words.pages.clear();
    }
  }
}
