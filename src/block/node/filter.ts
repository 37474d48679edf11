// A filter: it reads and writes as the node below it does, and is put between that and its users to change something of how. All is
// handed on here, and a filter overrides the few methods in which it differs.
//
//   user --> filter --filtered--> node
//
// A filter that must see each request overrides `doLocate`, too (`return false`): a request that the node below can locate goes straight
// to the host file.

import type { HostFile, ZeroScan } from '../../host/host.js';
import { formatJsonFilename } from '../../schema/options.js';
import type { Abilities } from '../abilities.js';
import type { Child } from '../child.js';
import { nameAsOptions } from '../filename.js';
import type { Graph } from '../graph.js';
import type { Permissions } from '../roles.js';
import type { BlockStatus, Compression, Extent, Located, TruncateOptions, WriteFlags, ZeroFlags } from '../types.js';
import { BlockNode, type NodeOptions } from './node.js';

export abstract class FilterNode extends BlockNode {
  override readonly kind = 'filter';
  override readonly filename: string;

  /** Over `file`, as its child `child`. `own`: the filter's options that belong to its name; null: it is called as what it filters. */
  constructor(graph: Graph, options: NodeOptions, driver: string, own: object | null, file: BlockNode, child = 'file') {
    super(graph, options);
    this.filename = own === null ? file.filename : formatJsonFilename({ driver, ...own, [child]: nameAsOptions(file) });
    this.length = file.length;
    this.setChild(child, file, 'filtered');
  }

  /** The link to what is filtered. */
  protected get below(): Child {
    if (this.primary === null) throw this.closedError('use');
    return this.primary;
  }

  override hostFile(): HostFile | null {
    return this.below.node.hostFile();
  }

  /** The ability to tell of the image what the node below tells, but for what is of its format alone. */
  protected get passedDetails(): Pick<Abilities, 'details'> {
    const { details } = this.below.node.abilities;
    if (details === undefined) return {};
    return {
      details: () => {
        const { clusterSize, dirty } = details();
        return { clusterSize, dirty };
      },
    };
  }

  override get clusterBytes(): number {
    return this.below.node.clusterBytes;
  }

  override get copyUnitBytes(): number {
    return this.below.node.copyUnitBytes;
  }

  override get compression(): Compression {
    return this.below.node.compression;
  }

  override lookUpEnd(offset: number): number {
    return this.below.node.lookUpEnd(offset);
  }

  override blockStatusSync(offset: number, length: number): BlockStatus | null {
    return this.below.blockStatusSync(offset, length);
  }

  override needsOf(link: Child, perm: number, shared: number): Permissions | null {
    return link.role.primary ? { perm, shared } : null;
  }

  protected override doLocate(offset: number, length: number, write: boolean, into: Located): boolean {
    return this.below.locate(offset, length, write, into);
  }

  protected override doRead(offset: number, buffer: Uint8Array, scan?: ZeroScan): Promise<void> {
    return this.below.read(offset, buffer, scan);
  }

  protected override doReadExtents(extents: readonly Extent[], buffer: Uint8Array, scan?: ZeroScan): Promise<void> {
    return this.below.readExtents(extents, buffer, scan);
  }

  protected override doBlockStatus(offset: number, length: number): Promise<BlockStatus> {
    return this.below.blockStatus(offset, length);
  }

  protected override get handlesFua(): boolean {
    return true;
  }

  protected override doWrite(offset: number, buffer: Uint8Array, flags: WriteFlags): Promise<void> {
    return this.below.write(offset, buffer, handedOn(flags));
  }

  protected override doWriteExtents(extents: readonly Extent[], buffer: Uint8Array, flags: WriteFlags): Promise<void> {
    return this.below.writeExtents(extents, buffer, handedOn(flags));
  }

  protected override doWriteZeroes(offset: number, length: number, flags: ZeroFlags): Promise<void> {
    return this.below.writeZeroes(offset, length, handedOn(flags));
  }

  protected override doDiscard(offset: number, length: number): Promise<void> {
    return this.below.discard(offset, length);
  }

  protected override doReserve(offset: number, length: number, ahead: number): Promise<number> {
    return this.below.reserve(offset, length, ahead);
  }

  protected override doTruncate(size: number, options: TruncateOptions): Promise<void> {
    return this.below.truncate(size, options);
  }

  protected override doMakeEmpty(): Promise<void> {
    return this.below.makeEmpty();
  }
}

/** A range that is held in the filter's serialiser is not held in that of the node below, which reads the same afterwards, too. */
function handedOn<F extends { serialised?: boolean; unchanged?: boolean }>(flags: F): F {
  return flags.serialised === true ? { ...flags, serialised: false, unchanged: true } : flags;
}
