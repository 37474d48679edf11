// vmdk: VMware's image. The disk consists of extents, each a part with a way of its own to be stored; a request goes to those that it touches.
//
//   disk     |  extent 0, sparse      |  extent 1, flat  | ...
//   files    'disk-s001.vmdk'           'disk-f002.vmdk'         children `extents.0`, `extents.1`, beside the descriptor, which is the child `file`
//
// Or all is in one file: the descriptor, and the only extent.

import type { Abilities, CheckResult, RepairKind, RepairResult } from '../../../block/abilities.js';
import { skipFilters } from '../../../block/chain.js';
import { formatNodeName } from '../../../block/filename.js';
import type { CheckFinding } from '../../../block/finding.js';
import type { Graph } from '../../../block/graph.js';
import { FormatNode } from '../../../block/node/format.js';
import type { BlockNode, NodeOptions } from '../../../block/node/node.js';
import type { NodeChange, PreparedReopen } from '../../../block/node/reopening.js';
import type { Permissions } from '../../../block/roles.js';
import type {
  BlockStatus,
  Compression,
  Extent,
  Located,
  MovePlace,
  WriteFlags,
  ZeroFlags,
} from '../../../block/types.js';
import type { ZeroScan } from '../../../host/host.js';
import { assert } from '../../../util/assert.js';
import { BlockError } from '../../../util/errors.js';
import { settleAll } from '../../../util/settle.js';
import { ImageFile } from '../../image-file.js';
import type { Below } from '../blocks/places.js';
import { ContentId } from './cid.js';
import { CompressedPart } from './compressed-part.js';
import { type Descriptor, type ExtentLine, NO_PARENT } from './descriptor.js';
import { FlatPart, ZeroPart } from './flat-part.js';
import type { SparseHeader } from './header.js';
import { type ExtentPlace, isWritable, type Part, type WritablePart } from './part.js';
import type { SeHeader } from './se-header.js';
import { SePart } from './se-part.js';
import { type SparseOwner, SparsePart } from './sparse-part.js';

/** An extent that was opened. */
export interface OpenedExtent {
  line: ExtentLine;
  /** Null: the image's own file, or none (of zeroes). */
  node: BlockNode | null;
  /** Null: it is flat. */
  layout: SparseHeader | SeHeader | null;
  /** It lies in the file of the descriptor. */
  isOwn: boolean;
}

export interface VmdkParts {
  descriptor: Descriptor;
  /** Where the descriptor begins in `file`. */
  descriptorStart: number;
  /** And ends. */
  descriptorEnd: number;
  extents: readonly OpenedExtent[];
}

interface Placed {
  start: number;
  part: Part;
}

export class VmdkNode extends FormatNode {
  override readonly driver = 'vmdk';
  override readonly filename: string;
  readonly #descriptor: Descriptor;
  readonly #cid: ContentId;
  readonly #parts: Placed[] = [];
  readonly #compression: Compression;
  #parentIsKnown = false;

  constructor(graph: Graph, node: NodeOptions, file: BlockNode, parts: VmdkParts, permissions: Permissions) {
    super(graph, node);
    this.filename = formatNodeName(this.driver, {}, file);
    this.#descriptor = parts.descriptor;
    this.backingFile = parts.descriptor.backingFile;
    this.backingFormat = this.backingFile === null ? null : 'vmdk';
    const isApart = !parts.extents.some(({ isOwn }) => isOwn);
    this.setChild('file', file, isApart ? 'metadata' : 'image', permissions);
    const own = new ImageFile(() => this.primary!);
    this.#cid = new ContentId(own, parts.descriptor, parts.descriptorStart, () => this.host.random());
    let start = 0;
    let number = 0;
    for (const extent of parts.extents) {
      let stored = own;
      if (extent.node !== null) {
        const name = `extents.${number}`;
        this.setChild(name, extent.node, 'data', permissions);
        stored = new ImageFile(() => this.children.get(name)!);
      }
      number++;
      this.#parts.push({ start, part: this.#makePart(extent, stored, start, parts.descriptorEnd) });
      start += extent.line.length;
    }
    this.length = start;
    this.#compression = compressionOf(this.#parts);
  }

  #makePart({ line, layout, isOwn }: OpenedExtent, file: ImageFile, start: number, descriptorEnd: number): Part {
    if (line.kind === 'ZERO') return new ZeroPart(line, this.filename);
    if (layout === null) return new FlatPart(file, line);
    const owner: SparseOwner = {
      memory: this.host.memory,
      descriptorEnd,
      below: () => this.#belowFrom(start),
      writeData: (offset, length, flags) => super.doWriteZeroes(start + offset, length, flags),
    };
    if ('grains' in layout) return new SePart(file, layout, line.length, owner);
    const kind = isOwn ? '' : line.kind;
    return layout.isCompressed
      ? new CompressedPart(file, layout, kind, line.length, this.host, owner)
      : new SparsePart(file, layout, kind, line.length, owner);
  }

  get contentId(): number {
    return this.#cid.value;
  }

  // ---- the backing file -----------------------------------------------------------------------------------------

  #belowFrom(start: number): Below | null {
    const { cow } = this;
    if (cow === null) return null;
    return {
      length: Math.max(0, cow.length - start),
      read: (offset, buffer) => {
        this.#checkParent();
        return cow.read(start + offset, buffer);
      },
    };
  }

  /** The backing file is as it was when this image was made of it. Throws `invalid-image`. */
  #checkParent(): void {
    if (this.#parentIsKnown) return;
    const below = skipFilters(this.cow!.node);
    const parentCid = this.#descriptor.parentCid.value;
    if (below instanceof VmdkNode && parentCid !== NO_PARENT && below.contentId !== parentCid) {
      throw BlockError.at(
        this.filename,
        'invalid-image',
        `The backing file '${below.filename}' was changed since this image was made of it: its content ID is ${hex(below.contentId)}, not ${hex(parentCid)}`,
        { operation: 'read backing file' },
      );
    }
    this.#parentIsKnown = true;
  }

  // ---- requests -------------------------------------------------------------------------------------------------

  /** The part at `offset`, which lies on the disk. */
  #at(offset: number): Placed {
    const parts = this.#parts;
    let low = 0;
    for (let high = parts.length - 1; low < high; ) {
      const middle = (low + high + 1) >> 1;
      if (parts[middle].start <= offset) low = middle;
      else high = middle - 1;
    }
    return parts[low];
  }

  /** The part that [offset, offset + length) lies in; null: in several. */
  #partOf(offset: number, length: number): Placed | null {
    const placed = this.#at(offset);
    return offset + length <= placed.start + placed.part.length ? placed : null;
  }

  /** Calls `action` with each part of the range, the offset within it, where it begins in the range, and how long it is. */
  async #forEach(
    offset: number,
    length: number,
    action: (part: Part, within: number, done: number, bytes: number) => Promise<void>,
  ): Promise<void> {
    const actions: Promise<void>[] = [];
    for (let done = 0; done < length; ) {
      const { start, part } = this.#at(offset + done);
      const within = offset + done - start;
      const bytes = Math.min(length - done, part.length - within);
      actions.push(action(part, within, done, bytes));
      done += bytes;
    }
    await settleAll(actions);
  }

  override get compression(): Compression {
    return this.#compression;
  }

  override get clusterBytes(): number {
    return this.#parts[0].part.grainBytes;
  }

  protected override doLocate(offset: number, length: number, write: boolean, into: Located): boolean {
    if (write && !this.#cid.isChanged) return false;
    const placed = this.#partOf(offset, length);
    return placed?.part.locate(offset - placed.start, length, write, into) ?? false;
  }

  protected override async doRead(offset: number, buffer: Uint8Array, scan?: ZeroScan): Promise<void> {
    await this.#forEach(offset, buffer.length, (part, within, done, bytes) =>
      part.read(within, buffer.subarray(done, done + bytes)),
    );
    if (scan !== undefined) this.host.memory.zeroMap(buffer, scan.granule, scan.map);
  }

  override blockStatusSync(offset: number, length: number): BlockStatus | null {
    const { start, part } = this.#at(offset);
    return part.statusSync(offset - start, Math.min(length, start + part.length - offset));
  }

  protected override doBlockStatus(offset: number, length: number): Promise<BlockStatus> {
    const { start, part } = this.#at(offset);
    return part.status(offset - start, Math.min(length, start + part.length - offset));
  }

  protected override async doWrite(offset: number, buffer: Uint8Array, _flags: WriteFlags): Promise<void> {
    if (!this.#cid.isChanged) await this.#cid.change();
    await this.#forEach(offset, buffer.length, (part, within, done, bytes) =>
      writable(part).write(within, buffer.subarray(done, done + bytes)),
    );
  }

  protected override async doWriteZeroes(offset: number, length: number, flags: ZeroFlags): Promise<void> {
    if (!this.#cid.isChanged) await this.#cid.change();
    await this.#forEach(offset, length, (part, within, _, bytes) => writable(part).writeZeroes(within, bytes, flags));
  }

  protected override async doDiscard(offset: number, length: number): Promise<void> {
    if (!this.#cid.isChanged) await this.#cid.change();
    await this.#forEach(offset, length, (part, within, _, bytes) => writable(part).discard(within, bytes));
  }

  protected override async doPrepareMove(extents: readonly Extent[], granule: number): Promise<MovePlace | null> {
    const last = extents[extents.length - 1];
    const first = extents[0].offset;
    const placed = this.#partOf(first, last.offset + last.length - first);
    if (placed === null) return null;
    if (!this.#cid.isChanged) await this.#cid.change();
    const { start, part } = placed;
    return writable(part).prepareMove(
      extents.map(({ offset, length }) => ({ offset: offset - start, length })),
      granule,
    );
  }

  /** What it reads stays the same, and so does its content ID. That of the backing file comes first: what the image still holds then lies over the same. */
  protected override async doMakeEmpty(): Promise<void> {
    const parts = this.#parts.map(({ part }) => writable(part));
    if (parts.some(({ makeEmpty }) => makeEmpty === undefined)) return super.doMakeEmpty();
    const below = this.cow === null ? null : skipFilters(this.cow.node);
    if (below instanceof VmdkNode) await this.#cid.setParent(below.contentId);
    for (const part of parts) await part.makeEmpty?.();
  }

  protected override async doFlush(): Promise<void> {
    if (this.readOnly) return super.doFlush();
    await this.#commit();
  }

  #commit(): Promise<void> {
    return settleAll(this.#parts.map(({ part }) => writable(part).commit()));
  }

  // ---- what it says of itself -----------------------------------------------------------------------------------

  override async allocatedBytes(): Promise<number | null> {
    let sum = 0;
    for (const { role, node } of this.children.values()) {
      if (role.cow) continue;
      const bytes = await node.allocatedBytes();
      if (bytes === null) return null;
      sum += bytes;
    }
    return sum;
  }

  override get zeroWhenNew(): boolean {
    return [...this.children.values()].every(({ role, node }) => role.cow || node.zeroWhenNew);
  }

  override expectWrites(bytes: number): void {
    if (!Number.isSafeInteger(bytes) || bytes < 0) return;
    for (const { part } of this.#parts) if (isWritable(part)) part.expect?.(bytes);
  }

  override get abilities(): Abilities {
    const common: Abilities = { details: () => this.#details(), check: (report) => this.#check(report) };
    // As for QEMU: in flat extents nothing is found, and nothing is repaired.
    if (this.#parts.every(({ part }) => part.check === undefined)) return common;
    return {
      ...common,
      repair: (kind, report) => this.alone('repair', () => this.#repair(kind, report)),
    };
  }

  #details() {
    const { createType, parentCid } = this.#descriptor;
    const extents = this.#parts.map(({ part }) => part.info);
    const data = { 'create-type': createType, cid: this.#cid.value, 'parent-cid': parentCid.value, extents };
    const { grainBytes } = this.#parts[0].part;
    return {
      ...(grainBytes > 0 && { clusterSize: grainBytes }),
      dirty: false,
      specific: { type: 'vmdk' as const, data },
    };
  }

  #extentPlace({ start, part }: Placed): ExtentPlace {
    return { start, extent: this.#parts.length > 1 ? part.info.filename : undefined };
  }

  async #check(report: (finding: CheckFinding) => void, kind?: RepairKind): Promise<CheckResult> {
    if (!this.readOnly) await this.#commit();
    let corruptions = 0;
    for (const placed of this.#parts) {
      corruptions += (await placed.part.check?.(this.#extentPlace(placed), report, kind)) ?? 0;
    }
    // As QEMU, which says of this format neither how much is allocated, nor where the image ends.
    const unsaid = { imageEndOffset: 0, totalClusters: 0, allocatedClusters: 0 };
    return { checkErrors: 0, corruptions, leaks: 0, ...unsaid, fragmentedClusters: 0, compressedClusters: 0 };
  }

  async #repair(kind: RepairKind, report: (finding: CheckFinding) => void): Promise<RepairResult> {
    const before = await this.#check(report, kind);
    if (kind === 'all' && before.corruptions > 0) {
      await this.#cid.change();
      for (const { part } of this.#parts) {
        await writable(part).repair?.();
        part.clear();
      }
    }
    return { before, after: await this.#check(() => undefined) };
  }

  override async prepareReopen({ readOnly = this.readOnly }: NodeChange): Promise<PreparedReopen | null> {
    if (!this.readOnly && readOnly) await this.#finish(false);
    if (this.readOnly && !readOnly) refuseWriting(this.#parts, this.filename);
    return null;
  }

  /** Throws `unsupported` where the image is only read. */
  checkWritableImage(): void {
    refuseWriting(this.#parts, this.filename);
  }

  /** All is in the files, which are no longer than they need be. `closes`: as for `WritablePart.dropUnused`. */
  async #finish(closes: boolean): Promise<void> {
    await this.#commit();
    for (const { part } of this.#parts) {
      if (closes) await writable(part).dropUnused?.();
      await writable(part).trim();
    }
  }

  protected override async doClose(): Promise<void> {
    try {
      if (!this.readOnly) await this.#finish(true);
    } finally {
      for (const { part } of this.#parts) part.clear();
    }
  }
}

/** An image with a part that is only read is never opened to be written (`refuseWriting`). */
function writable(part: Part): WritablePart {
  assert(isWritable(part), 'an extent that is only read is not written to');
  return part;
}

function compressionOf(parts: readonly Placed[]): Compression {
  if (parts.some(({ part }) => part.compression === 'needed')) return 'needed';
  return parts.some(({ part }) => part.compression === 'taken') ? 'taken' : 'refused';
}

function refuseWriting(parts: readonly Placed[], path: string): void {
  for (const { part } of parts) {
    if (part.onlyRead !== null) throw BlockError.at(path, 'unsupported', part.onlyRead, { operation: 'open' });
  }
}

function hex(value: number): string {
  return value.toString(16).padStart(8, '0');
}
