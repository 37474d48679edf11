// The node that a backup job puts above its source: what guests write through it waits until the job has saved the old content in the target, which
// is its second child.
//
//      device
//        |
//      copy-before-write  <-- the job
//        | file     | target
//      source     target

import type { Child } from '../block/child.js';
import type { Keeper } from '../block/keeper.js';
import type { BlockNode } from '../block/node/node.js';
import { SAVED_TO_SHARED, SavingFilter } from '../block/node/saving-filter.js';
import type { FilterParts } from './job-filter.js';

export class BackupFilter extends SavingFilter {
  override readonly driver = 'copy-before-write';
  protected override readonly keeper: Keeper;

  constructor(parts: FilterParts, keeper: Keeper) {
    super(...parts);
    this.keeper = keeper;
  }

  /** Takes `target`; the job does with it what needs `perm`. Throws `permission`, `read-only`. */
  linkTarget(target: BlockNode, perm: number): Child {
    this.setChild('target', target, 'data', { perm, shared: SAVED_TO_SHARED });
    return this.children.get('target')!;
  }

  override get abilities() {
    return this.passedDetails;
  }
}
