// What block status can be asked about: contexts, each of which describes every run of bytes by a number.
//
//   base:allocation           hole, zero                 of the whole backing chain
//   qemu:allocation-depth     0 nowhere, 1 top, 2 ...    the layer that has it
//   qemu:dirty-bitmap:NAME    1 dirty                    one bitmap

import type { DirtyBitmap } from '../../block/bitmap.js';
import { type ChainStatus, chainStatus, chainStatusSync } from '../../block/chain.js';
import type { BlockNode } from '../../block/node/node.js';
import { nextTurn } from '../../host/sleep.js';
import {
  AllocationState,
  CONTEXT_ALLOCATION_DEPTH,
  CONTEXT_BASE_ALLOCATION,
  CONTEXT_DIRTY_BITMAP,
} from '../../wire/nbd/constants.js';

/** Look-ups for one answer: where an image is fragmented, it ends early. */
const MAX_LOOKUPS = 65_536;
/** Look-ups before other clients are served again: less than a millisecond. */
const LOOKUPS_AT_ONCE = 1024;
const DIRTY = 1;

/** Consecutive runs, from the offset that was asked for. */
export class Runs {
  readonly lengths: number[] = [];
  readonly flags: number[] = [];
  readonly #limit: number;

  /** Takes up to `limit` runs. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  get count(): number {
    return this.lengths.length;
  }

  /** Adds a run, or lengthens the last one. False: there is no room. */
  add(length: number, flags: number): boolean {
    const last = this.lengths.length - 1;
    if (last >= 0 && this.flags[last] === flags) this.lengths[last] += length;
    else if (last + 1 === this.#limit) return false;
    else {
      this.lengths.push(length);
      this.flags.push(flags);
    }
    return true;
  }
}

export interface MetaContext {
  readonly name: string;
  /** Fills `runs` for [offset, offset + length) of `node`, as far as there is room: at least one run. Rejects as reading does. */
  describe(node: BlockNode, offset: number, length: number, runs: Runs): Promise<void>;
}

async function walk(
  node: BlockNode,
  offset: number,
  length: number,
  runs: Runs,
  flagsOf: (status: ChainStatus) => number,
): Promise<void> {
  const end = offset + length;
  for (let at = offset, lookups = 0; at < end && lookups < MAX_LOOKUPS; lookups++) {
    const status = chainStatusSync(node, null, at, end - at) ?? (await chainStatus(node, null, at, end - at));
    if (!runs.add(status.length, flagsOf(status))) return;
    at += status.length;
    if (lookups % LOOKUPS_AT_ONCE === LOOKUPS_AT_ONCE - 1) await nextTurn(node.host.clock);
  }
}

export class AllocationContext implements MetaContext {
  readonly name = CONTEXT_BASE_ALLOCATION;

  async describe(node: BlockNode, offset: number, length: number, runs: Runs): Promise<void> {
    await walk(
      node,
      offset,
      length,
      runs,
      ({ data, zero }) => (data ? 0 : AllocationState.hole) | (zero ? AllocationState.zero : 0),
    );
  }
}

export class DepthContext implements MetaContext {
  readonly name = CONTEXT_ALLOCATION_DEPTH;

  async describe(node: BlockNode, offset: number, length: number, runs: Runs): Promise<void> {
    await walk(node, offset, length, runs, ({ allocated, inherited, depth }) =>
      allocated && !inherited ? depth + 1 : 0,
    );
  }
}

export class BitmapContext implements MetaContext {
  readonly name: string;
  readonly #bitmap: DirtyBitmap;

  constructor(bitmap: DirtyBitmap) {
    this.name = CONTEXT_DIRTY_BITMAP + bitmap.name;
    this.#bitmap = bitmap;
  }

  async describe(node: BlockNode, offset: number, length: number, runs: Runs): Promise<void> {
    const end = offset + length;
    for (let at = offset, lookups = 1; at < end; lookups++) {
      if (lookups % LOOKUPS_AT_ONCE === 0) await nextTurn(node.host.clock);
      // A bitmap of a shorter node knows of no writes behind its end.
      const known = Math.min(end, this.#bitmap.size);
      const dirty = at < known ? this.#bitmap.nextDirty(at, known) : -1;
      if (dirty !== at) {
        const next = dirty < 0 ? end : dirty;
        if (!runs.add(next - at, 0)) return;
        at = next;
        continue;
      }
      const clean = this.#bitmap.nextZero(at, known);
      const next = clean < 0 ? known : clean;
      if (!runs.add(next - at, DIRTY)) return;
      at = next;
    }
  }
}

/** The queries of LIST_META_CONTEXT that name a family of contexts by what their names begin with. */
export const CONTEXT_FAMILIES: readonly string[] = ['base:', 'qemu:', CONTEXT_DIRTY_BITMAP];
