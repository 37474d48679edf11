// throttle: requests go on to the node below at the rate that a throttle group allows. All filters of a group have its limits together, and take
// turns.
//
//   reads, writes, zeroes, discards --admit--> [ throttle group ] --> node below       flushes and block status: at once
//
// While the group has no limits, requests are located through the filter as if it were not there. In a drained section everything that waits goes on at
// once, and what is sent in the section does not wait: the section waits for its end, not for the limits.

import { FilterNode } from '../../block/node/filter.js';
import type { BlockNode } from '../../block/node/node.js';
import type { NodeChange, PreparedReopen } from '../../block/node/reopening.js';
import type { OpenRequest } from '../../block/registry.js';
import type { Extent, Located, WriteFlags, ZeroFlags } from '../../block/types.js';
import type { ZeroScan } from '../../host/host.js';
import type { ThrottleMember } from '../../host/throttle.js';

class ThrottleNode extends FilterNode {
  override readonly driver = 'throttle';
  #member: ThrottleMember;
  #drained = false;

  /** Throws `not-found` where there is no such group. */
  constructor({ graph, node, options }: OpenRequest<'throttle'>, file: BlockNode) {
    const name = options['throttle-group'];
    const group = graph.objects.throttleGroup(name);
    super(graph, node, 'throttle', { 'throttle-group': name }, file);
    this.#member = group.join();
  }

  override get abilities() {
    return this.passedDetails;
  }

  override drainBegin(): void {
    this.#drained = true;
    this.#member.release();
  }

  override drainEnd(): void {
    this.#drained = false;
    this.#member.restrain();
  }

  override abortStalled(): void {
    this.#member.release();
    super.abortStalled();
  }

  protected override doLocate(offset: number, length: number, write: boolean, into: Located): boolean {
    return !this.#member.group.enabled && super.doLocate(offset, length, write, into);
  }

  protected override async doRead(offset: number, buffer: Uint8Array, scan?: ZeroScan): Promise<void> {
    await this.#admit(false, buffer.length);
    await super.doRead(offset, buffer, scan);
  }

  protected override async doReadExtents(
    extents: readonly Extent[],
    buffer: Uint8Array,
    scan?: ZeroScan,
  ): Promise<void> {
    await this.#admit(false, buffer.length);
    await super.doReadExtents(extents, buffer, scan);
  }

  protected override async doWrite(offset: number, buffer: Uint8Array, flags: WriteFlags): Promise<void> {
    await this.#admit(true, buffer.length);
    await super.doWrite(offset, buffer, flags);
  }

  protected override async doWriteExtents(
    extents: readonly Extent[],
    buffer: Uint8Array,
    flags: WriteFlags,
  ): Promise<void> {
    await this.#admit(true, buffer.length);
    await super.doWriteExtents(extents, buffer, flags);
  }

  protected override async doWriteZeroes(offset: number, length: number, flags: ZeroFlags): Promise<void> {
    await this.#admit(true, length);
    await super.doWriteZeroes(offset, length, flags);
  }

  protected override async doDiscard(offset: number, length: number): Promise<void> {
    await this.#admit(true, length);
    await super.doDiscard(offset, length);
  }

  #admit(isWrite: boolean, bytes: number): Promise<void> | undefined {
    return this.#member.group.enabled ? this.#member.admit(isWrite, bytes) : undefined;
  }

  /** Rejects with `not-found` where there is no such group. */
  override async prepareReopen({ options }: NodeChange): Promise<PreparedReopen | null> {
    if (options?.driver !== 'throttle') return null;
    const group = this.graph.objects.throttleGroup(options['throttle-group']);
    const old = this.#member;
    if (group === old.group) return null;
    const member = group.join();
    const use = (one: ThrottleMember): void => {
      this.#member = one;
      if (this.#drained) one.release();
    };
    return {
      commit: () => use(member),
      revert: () => use(old),
      finish: async () => (this.#member === member ? old : member).close(),
    };
  }

  protected override async doClose(): Promise<void> {
    this.#member.close();
  }
}

export async function openThrottle(request: OpenRequest<'throttle'>): Promise<BlockNode> {
  return new ThrottleNode(request, await request.openChild('file', null, 'filtered'));
}
