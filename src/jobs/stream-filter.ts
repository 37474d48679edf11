// The node that a stream job puts above its top: what guests read through it of the layers that are streamed is filled in at once, as the job would
// do it later.
//
//      device
//        |
//      copy-on-read  <-- the job
//        | file
//       top  -->  the layers down to `bottom`  -->  base

import type { Child } from '../block/child.js';
import type { BlockNode } from '../block/node/node.js';
import { PopulatingFilter } from '../block/node/populating-filter.js';
import type { Permissions } from '../block/roles.js';
import { Perm } from '../block/types.js';
import type { FilterParts } from './job-filter.js';

export interface StreamFilterUse {
  /** The lowest layer that is streamed; the top itself where none is. */
  bottom: BlockNode;
  /** Fills in what the top does not hold of a range of whole clusters. */
  populate(offset: number, length: number): Promise<void>;
}

export class StreamFilter extends PopulatingFilter {
  override readonly driver = 'copy-on-read';
  protected override readonly bottom: BlockNode;
  readonly #populate: StreamFilterUse['populate'];

  constructor(parts: FilterParts, { bottom, populate }: StreamFilterUse) {
    super(...parts);
    this.bottom = bottom;
    this.#populate = populate;
  }

  /** The job, and who reads here, fill in what is read there anyway. */
  override needsOf(_link: Child, perm: number, shared: number): Permissions | null {
    return { perm: perm | Perm.WRITE_UNCHANGED, shared };
  }

  protected override copy(offset: number, length: number): Promise<void> {
    return this.#populate(offset, length);
  }
}
