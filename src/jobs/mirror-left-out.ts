// What a mirror need not write, since its target reads as the source does there without it, and the backing node that the target gets for that.
//
//   sync   the target                                    left out                                  its backing node at the end
//   full   reads as zeroes                               zeroes                                    as it was
//   top    has no backing node, and holds nothing        what lies below the source                the source's
//   top    has the same images below it                  what lies below the first of these        as it was
//   top    has others below it                           what it reads as already: compared        as it was
//   none   holds nothing, and has no other backing node  all that is there at the start            the source
//
// A commit's target is the base: what lies below the layers that are committed is left out.

import { backingOf, type ChainStatus } from '../block/chain.js';
import type { BlockNode } from '../block/node/node.js';
import { hasBackingFiles } from '../block/registry.js';
import { holdsNothing } from '../block/same-below.js';
import { BlockError } from '../util/errors.js';
import { ownContent, type PieceKind, wholeContent } from './copy-plan.js';
import { restOf, zeroByItself } from './left-out.js';
import type { MirrorOptions } from './mirror-options.js';

export class MirrorLeftOut {
  readonly #options: MirrorOptions;
  #base: BlockNode | null;
  #compares = false;
  #takesBacking: boolean;
  #targetIsZero = false;

  constructor(options: MirrorOptions, base: BlockNode | null) {
    this.#options = options;
    this.#base = base ?? (options.sync === 'top' ? backingOf(options.source) : null);
    this.#takesBacking = takesBacking(options);
  }

  /** What lies below it is left out; null: nothing is. */
  get base(): BlockNode | null {
    return this.#base;
  }

  /** What the target reads as already is left out: its backing file is another one than the source's. */
  get compares(): boolean {
    return this.#compares;
  }

  /** The target gets its backing node at the end. */
  get takesBacking(): boolean {
    return this.#takesBacking;
  }

  /** Zeroes are left out where nothing was written to the target yet. */
  get targetIsZero(): boolean {
    return this.#targetIsZero;
  }

  /** The node that the target gets as its backing node at the pivot; null: none. */
  get backingToBe(): BlockNode | null {
    if (!this.#takesBacking) return null;
    const { source, sync } = this.#options;
    return sync === 'none' ? source : backingOf(source);
  }

  /** What becomes of a run of the source. `untouched`: both images are there as they were at the start. */
  classify(status: ChainStatus, untouched: boolean): PieceKind {
    const kind = this.#base === null ? wholeContent(status) : ownContent(status);
    // Left out on the target only while that is as it was at the start.
    return kind === 'skip' && !untouched ? 'data' : kind;
  }

  /** Looks at the images, before the first write. Rejects with `invalid-argument` where the target could not become right. */
  async settle(): Promise<void> {
    const { source, target, sync, targetIsZero } = this.#options;
    if (sync === 'none') {
      const below = backingOf(target);
      if ((below === null ? this.#takesBacking : below === source) && (await holdsNothing(target))) return;
      throw new BlockError(
        'invalid-argument',
        `sync=none needs a target that holds nothing and has no other backing file than '${source.filename}'`,
        { path: target.filename },
      );
    }
    if (sync === 'full') this.#targetIsZero = targetIsZero ?? (await zeroByItself(target));
    if (sync !== 'top') return;
    if (backingOf(target) !== null) {
      this.#base = await restOf(source, target);
      this.#compares = this.#base === null;
    } else if (!this.#takesBacking || !(await holdsNothing(target))) {
      // It becomes a copy that stands alone.
      this.#takesBacking = false;
      this.#base = null;
    }
  }
}

/** Whether the target gets its backing node at the end: it has none yet, and could have one. */
function takesBacking({ sync, keepsBacking, target, source }: MirrorOptions): boolean {
  if (keepsBacking || backingOf(target) !== null || !hasBackingFiles(target.driver)) return false;
  return sync === 'none' || (sync === 'top' && backingOf(source) !== null);
}
