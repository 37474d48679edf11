// blkdebug: a filter that makes requests fail where its rules say so (rules.ts), holds them up at events of the drivers above, and cuts them down
// to limits (limits.ts). It is how one tests what happens to an image, and to its users, when storage fails.
//
//   qcow2 --image--> [ blkdebug: rules ] --image--> file
//     |                    ^
//     +--- events ---------+   l2_load, write_aio, ...

import type { Abilities } from '../../../block/abilities.js';
import type { Child } from '../../../block/child.js';
import { nameAsOptions } from '../../../block/filename.js';
import { FilterNode } from '../../../block/node/filter.js';
import type { BlockNode } from '../../../block/node/node.js';
import type { OpenRequest } from '../../../block/registry.js';
import type { Permissions } from '../../../block/roles.js';
import {
  type BlockStatus,
  type Extent,
  Perm,
  type TruncateOptions,
  type WriteFlags,
  type ZeroFlags,
} from '../../../block/types.js';
import { errnoError } from '../../../host/errno.js';
import type { HostFile, ZeroScan } from '../../../host/host.js';
import { nextTurn } from '../../../host/sleep.js';
import type { BlkdebugIOType, BlockdevOptionsBlkdebug, BlockPermission } from '../../../schema/generated/types.js';
import { flatten, type Nested } from '../../../schema/keyval.js';
import { formatJsonFilename, isJsonFilename } from '../../../schema/options.js';
import { readConfig } from './config.js';
import { cuts, type Limits, limitsOf } from './limits.js';
import { type RuleOptions, Rules } from './rules.js';

const PERMS: Readonly<Record<BlockPermission, number>> = {
  'consistent-read': Perm.CONSISTENT_READ,
  write: Perm.WRITE,
  'write-unchanged': Perm.WRITE_UNCHANGED,
  resize: Perm.RESIZE,
};

class BlkdebugNode extends FilterNode {
  override readonly driver = 'blkdebug';
  override readonly filename: string;
  override readonly debugEvents: Rules;
  readonly #limits: Limits;
  /** Bits of `Perm`. No private members: `needsOf` is called by the constructor of the base, before there are any. */
  protected readonly takes: number | undefined;
  protected readonly keeps: number | undefined;

  /** Throws `invalid-argument` for limits that cannot be. */
  constructor({ graph, node, options }: OpenRequest<'blkdebug'>, image: BlockNode, rules: RuleOptions) {
    const limits = limitsOf(options, image.requestAlignment);
    super(graph, node, 'blkdebug', null, image, 'image');
    this.#limits = limits;
    this.takes = permsOf(options['take-child-perms']);
    this.keeps = permsOf(options['unshare-child-perms']);
    this.filename = nameOf(options, image);
    this.debugEvents = new Rules(rules);
    this.requestAlignment = limits.align;
    this.updatePermissions();
  }

  override get abilities(): Abilities {
    return { ...this.passedDetails, breakpoints: this.debugEvents };
  }

  override hostFile(): HostFile | null {
    return null;
  }

  override async allocatedBytes(): Promise<null> {
    return null;
  }

  override needsOf(link: Child, perm: number, shared: number): Permissions {
    return super.needsOf(link, perm | (this.takes ?? 0), shared & ~(this.keeps ?? 0))!;
  }

  protected override doLocate(): boolean {
    return false;
  }

  override blockStatusSync(): null {
    return null;
  }

  protected override async doRead(offset: number, buffer: Uint8Array, scan?: ZeroScan): Promise<void> {
    const end = offset + buffer.length;
    // Whole blocks may reach beyond the end of the image.
    const inside = Math.max(offset, Math.min(end, this.below.length));
    buffer.fill(0, inside - offset);
    for (const [from, to] of cuts(offset, end, this.#limits.maxTransfer)) {
      await this.#check('read', from, to - from);
      const last = Math.min(to, inside);
      if (from < last) await this.below.read(from, buffer.subarray(from - offset, last - offset));
    }
    if (scan !== undefined) this.host.memory.zeroMap(buffer, scan.granule, scan.map);
  }

  protected override async doReadExtents(extents: readonly Extent[], buffer: Uint8Array, scan?: ZeroScan) {
    let at = 0;
    for (const { offset, length } of extents) {
      await this.read(offset, buffer.subarray(at, at + length));
      at += length;
    }
    if (scan !== undefined) this.host.memory.zeroMap(buffer, scan.granule, scan.map);
  }

  protected override async doBlockStatus(offset: number, length: number): Promise<BlockStatus> {
    await this.#check('block-status', offset, length);
    return this.below.blockStatus(offset, length);
  }

  protected override async doWrite(offset: number, buffer: Uint8Array, flags: WriteFlags): Promise<void> {
    await this.debugEvents.raise('pwritev');
    const end = offset + buffer.length;
    for (const [from, to] of cuts(offset, end, this.#limits.maxTransfer)) {
      await this.#check('write', from, to - from);
      const last = Math.min(to, this.below.length);
      if (from < last) await super.doWrite(from, buffer.subarray(from - offset, last - offset), flags);
      this.debugEvents.unflushed = true;
    }
    await this.debugEvents.raise('pwritev_done');
  }

  protected override async doWriteExtents(extents: readonly Extent[], buffer: Uint8Array, flags: WriteFlags) {
    let at = 0;
    for (const { offset, length } of extents) {
      await this.doWrite(offset, buffer.subarray(at, at + length), flags);
      at += length;
    }
  }

  /** Multiples of the unit as zeroes, and what is left at both ends as data. */
  protected override async doWriteZeroes(offset: number, length: number, flags: ZeroFlags): Promise<void> {
    await this.debugEvents.raise('pwritev_zero');
    const { optWriteZero: unit, maxWriteZero: most } = this.#limits;
    const end = offset + length;
    const [start, stop] = [Math.ceil(offset / unit) * unit, Math.floor(end / unit) * unit];
    const asData = (from: number, to: number) => this.#writeZeroData(from, to, flags);
    if (start >= stop) await asData(offset, end);
    else {
      await asData(offset, start);
      for (const [from, to] of cuts(start, stop, most)) {
        await this.#check('write-zeroes', from, to - from);
        await super.doWriteZeroes(from, to - from, flags);
      }
      await asData(stop, end);
    }
    this.debugEvents.unflushed = true;
    await this.debugEvents.raise('pwritev_done');
  }

  async #writeZeroData(from: number, to: number, { fua, serialised, noFallback }: ZeroFlags): Promise<void> {
    if (from >= to) return;
    if (noFallback) throw this.unsupported('write zeroes', from, to - from);
    const { memory } = this.host;
    for (const [at, next] of cuts(from, to, Math.min(this.#limits.maxTransfer, ZERO_CHUNK_BYTES))) {
      await this.#check('write', at, next - at);
      const zeroes = memory.allocate(next - at).fill(0);
      try {
        await super.doWrite(at, zeroes, { fua, serialised });
      } finally {
        memory.free(zeroes);
      }
    }
  }

  protected override async doDiscard(offset: number, length: number): Promise<void> {
    const { optDiscard: unit, maxDiscard: most } = this.#limits;
    const [start, stop] = [Math.ceil(offset / unit) * unit, Math.floor((offset + length) / unit) * unit];
    for (const [from, to] of cuts(start, stop, most)) {
      await this.#check('discard', from, to - from);
      await super.doDiscard(from, to - from);
    }
    this.debugEvents.unflushed = true;
  }

  protected override async doFlush(): Promise<void> {
    await this.#check('flush', 0, 0);
    await super.doFlush();
  }

  protected override async doTruncate(size: number, options: TruncateOptions): Promise<void> {
    await super.doTruncate(size, options);
    this.debugEvents.unflushed = true;
  }

  /** Who is held up would never end. */
  override abortStalled(): void {
    this.debugEvents.end();
    super.abortStalled();
  }

  async #check(type: BlkdebugIOType, offset: number, length: number): Promise<void> {
    const injected = this.debugEvents.check(type, offset, length);
    if (injected === null) return;
    if (!injected.immediately) await nextTurn(this.host.clock);
    throw errnoError(injected.errno, { operation: type, path: this.filename, offset, length });
  }
}

const ZERO_CHUNK_BYTES = 1 << 20;

function permsOf(names: readonly BlockPermission[] = []): number {
  return names.reduce((perms, name) => perms | PERMS[name], 0);
}

/** Options that do not change what a request comes to. */
const NOT_IN_NAME = ['take-child-perms', 'unshare-child-perms', 'image', 'config', 'driver'];

/** `blkdebug:CONFIG:IMAGE`, where that says all, or options in JSON. */
function nameOf(options: BlockdevOptionsBlkdebug, image: BlockNode): string {
  const { config } = options;
  const own = Object.entries(options).filter(([name]) => OWN.has(name) && !NOT_IN_NAME.includes(name));
  if (own.length === 0 && !isJsonFilename(image.filename)) return `blkdebug:${config ?? ''}:${image.filename}`;
  const flat = Object.fromEntries(flatten(Object.fromEntries(own) as { [name: string]: Nested }));
  return formatJsonFilename({ driver: 'blkdebug', image: nameAsOptions(image), config, ...flat });
}

const OWN = new Set([
  'align',
  'max-transfer',
  'opt-write-zero',
  'max-write-zero',
  'opt-discard',
  'max-discard',
  'inject-error',
  'set-state',
]);

export async function openBlkdebug(request: OpenRequest<'blkdebug'>): Promise<BlkdebugNode> {
  const { options, graph } = request;
  const { config } = options;
  const read = config === undefined ? null : await readConfig(graph.host, config);
  const image = await request.openChild('image', null, 'filtered');
  return new BlkdebugNode(request, image, {
    injectError: [...(read?.injectError ?? []), ...(options['inject-error'] ?? [])],
    setState: [...(read?.setState ?? []), ...(options['set-state'] ?? [])],
  });
}
