// preallocate: stands between a format and its file. When the file has to grow, it grows by far more than is needed, in one step and with its space
// allocated, so that the file is in few pieces and the next steps cost nothing. What is not used in the end is cut off.
//
//   format sees   |===== used =====|
//   file          |===== used =====|-- allocated ahead --|      the end is cut when the filter is closed, or becomes read-only
//
// A process that is killed leaves the longer file; to a format it is the same.

import type { Child } from '../../block/child.js';
import { FilterNode } from '../../block/node/filter.js';
import type { BlockNode } from '../../block/node/node.js';
import type { NodeChange, PreparedReopen } from '../../block/node/reopening.js';
import type { OpenRequest } from '../../block/registry.js';
import type { Permissions } from '../../block/roles.js';
import { Perm, type TruncateOptions } from '../../block/types.js';
import type { BlockdevOptionsPreallocate } from '../../schema/generated/types.js';
import type { Nested } from '../../schema/keyval.js';
import { BlockError, toBlockError } from '../../util/errors.js';
import { roundUp, SECTOR_BYTES } from '../../util/numbers.js';
import { sizeOfOption } from '../../util/size.js';

const DEFAULT_ALIGN_BYTES = 1 << 20;
const DEFAULT_SIZE_BYTES = 128 << 20;

interface Ahead {
  align: number;
  size: number;
}

/** Throws `invalid-argument`. */
function aheadOf(options: BlockdevOptionsPreallocate): Ahead {
  const align = options['prealloc-align'] ?? DEFAULT_ALIGN_BYTES;
  const size = options['prealloc-size'] ?? DEFAULT_SIZE_BYTES;
  for (const [name, value] of [
    ['prealloc-align', align],
    ['prealloc-size', size],
  ] as const) {
    if (value >= 0) continue;
    throw new BlockError('invalid-argument', `Parameter '${name}' expects a non-negative number below 2^64`);
  }
  if (align % SECTOR_BYTES !== 0) {
    throw new BlockError('invalid-argument', 'prealloc-align parameter of preallocate filter is not aligned to 512');
  }
  return { align: Math.max(1, align), size };
}

/** Where options are text both are read as sizes (`prealloc-size=1M`), as QEMU does, though they are integers of the schema. */
export function withSizes(level: { [key: string]: Nested }): { [key: string]: Nested } {
  const read = { ...level };
  for (const name of ['prealloc-align', 'prealloc-size']) {
    const given = level[name];
    if (typeof given === 'string') read[name] = String(sizeOfOption(name, given));
  }
  return read;
}

class PreallocateNode extends FilterNode {
  override readonly driver = 'preallocate';
  #ahead: Ahead;

  constructor({ graph, node, options }: OpenRequest<'preallocate'>, file: BlockNode) {
    const ahead = aheadOf(options);
    super(graph, node, 'preallocate', {}, file);
    this.#ahead = ahead;
  }

  override get abilities() {
    return this.passedDetails;
  }

  /** The end of the file is to be cut, though nobody uses the filter any more. */
  override needsOf(link: Child, perm: number, shared: number): Permissions | null {
    const needs = super.needsOf(link, perm, shared);
    return needs === null || link.length <= this.length ? needs : { ...needs, perm: needs.perm | Perm.RESIZE };
  }

  protected override async doTruncate(size: number, options: TruncateOptions): Promise<void> {
    const grows = size > this.length;
    const asked = options.preallocation !== undefined && options.preallocation !== 'off';
    if (grows && !asked && size <= this.below.length) return;
    if (grows && !asked && (await this.#growAhead(size))) return;
    await super.doTruncate(size, options);
  }

  /** False: the file does not allocate space. */
  async #growAhead(size: number): Promise<boolean> {
    const end = roundUp(size + this.#ahead.size, this.#ahead.align);
    if (!Number.isSafeInteger(end)) return false;
    try {
      await this.below.truncate(end, { preallocation: 'falloc' });
      return true;
    } catch (error) {
      // There is less room, or none of that kind: what is needed may be had all the same.
      const { code } = toBlockError(error);
      if (code === 'no-space' || code === 'unsupported' || code === 'limit' || code === 'invalid-argument')
        return false;
      throw error;
    }
  }

  async #cut(): Promise<void> {
    if (this.below.length > this.length && (this.below.perm & Perm.RESIZE) !== 0) {
      await this.below.truncate(this.length);
    }
  }

  /** Rejects with `invalid-argument`. */
  override async prepareReopen({ options, readOnly }: NodeChange): Promise<PreparedReopen | null> {
    if (readOnly === true) await this.#cut();
    if (options?.driver !== 'preallocate') return null;
    const [old, ahead] = [this.#ahead, aheadOf(options)];
    return {
      commit: () => {
        this.#ahead = ahead;
      },
      revert: () => {
        this.#ahead = old;
      },
    };
  }

  protected override doClose(): Promise<void> {
    return this.#cut();
  }
}

export async function openPreallocate(request: OpenRequest<'preallocate'>): Promise<BlockNode> {
  return new PreallocateNode(request, await request.openChild('file', null, 'filtered'));
}
