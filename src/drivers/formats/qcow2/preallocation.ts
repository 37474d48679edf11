// Images whose clusters were allocated without giving the file below space for them (`preallocation=metadata`): the clusters are data, and
// holes of the file. There block status asks the file, too, which of them read as zeroes. Elsewhere that would cost a system call a run for
// no result.

import type { BlockNode } from '../../../block/node/node.js';
import type { BlockStatus } from '../../../block/types.js';
import type { Qcow2Image } from './image.js';

export class Preallocation {
  readonly #image: Qcow2Image;
  /** Null until `look` was called; afterwards it stays, whatever is written. */
  #found: boolean | null = null;
  #looking: Promise<boolean> | null = null;

  constructor(image: Qcow2Image) {
    this.#image = image;
  }

  /** Whether data clusters may be holes of the file; null where that is not known yet (`look`). */
  get found(): boolean | null {
    return this.#found;
  }

  /** Finds out. Rejects with `io`. */
  async look(): Promise<boolean> {
    if (this.#found !== null) return this.#found;
    this.#looking ??= this.#detect().finally(() => {
      this.#looking = null;
    });
    this.#found = await this.#looking;
    return this.#found;
  }

  /** As QEMU guesses it: distinctly more clusters are in use than the file takes on the disk. */
  async #detect(): Promise<boolean> {
    const { file, geometry, refcounts } = this.#image;
    const allocated = await file.link.node.allocatedBytes();
    if (allocated === null) return false;
    const clusters = Math.floor(allocated / geometry.clusterSize);
    const enough = Math.max(Math.floor((clusters * 10) / 9), clusters + 2);
    const end = Math.ceil(file.length / geometry.clusterSize);
    return enough <= end && (await refcounts.areUsed(end, enough));
  }
}

/** `status` is of data in `file`: up to where that stops to be a hole, or begins to be one. Null: the file must be asked (`zeroInFile`). */
export function zeroInFileSync(file: BlockNode, status: BlockStatus): BlockStatus | null {
  if (status.offset >= file.length) return { ...status, zero: true };
  const below = file.blockStatusSync(status.offset, inside(file, status));
  return below === null ? null : narrowed(file, status, below);
}

export async function zeroInFile(file: BlockNode, status: BlockStatus): Promise<BlockStatus> {
  if (status.offset >= file.length) return { ...status, zero: true };
  return narrowed(file, status, await file.blockStatus(status.offset, inside(file, status)));
}

function inside(file: BlockNode, { offset, length }: BlockStatus): number {
  return Math.min(length, file.length - offset);
}

/** Behind the end of the file it goes on with zeroes. */
function narrowed(file: BlockNode, status: BlockStatus, { length, zero }: BlockStatus): BlockStatus {
  const whole = zero && status.offset + length >= file.length;
  return { ...status, zero, length: whole ? status.length : length };
}
