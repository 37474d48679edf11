// Detects images whose clusters were allocated without allocating their space on the file system (`preallocation=metadata`): by the tables such
// clusters are data, but in the file they are holes. For these images, block status asks the file, too, which clusters read as zeroes. For all
// others that would cost a system call for each run without any result.

import type { BlockNode } from '../../../block/node/node.js';
import type { BlockStatus } from '../../../block/types.js';
import type { Qcow2Image } from './image.js';

export class Preallocation {
  readonly #image: Qcow2Image;
  /** Null until `look` was called; after that it does not change, whatever is written. */
  #found: boolean | null = null;
  #looking: Promise<boolean> | null = null;

  constructor(image: Qcow2Image) {
    this.#image = image;
  }

  /** Whether data clusters may be holes of the file; null where that is not known yet (`look`). */
  get found(): boolean | null {
    return this.#found;
  }

  /** Detects it, once, and resolves with `found`. Rejects with `io`. */
  async look(): Promise<boolean> {
    if (this.#found !== null) return this.#found;
    this.#looking ??= this.#detect().finally(() => {
      this.#looking = null;
    });
    this.#found = await this.#looking;
    return this.#found;
  }

  /** QEMU's heuristic: clearly more clusters are in use than the file takes on the disk. */
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

/** Narrows `status`, of data in `file`, to the first run that is either a hole of the file or not, and sets `zero` for a hole. Null: use `zeroInFile`. */
export function zeroInFileSync(file: BlockNode, status: BlockStatus): BlockStatus | null {
  if (status.offset >= file.length) return { ...status, zero: true };
  const below = file.blockStatusSync(status.offset, inside(file, status));
  return below === null ? null : narrowed(file, status, below);
}

/** As `zeroInFileSync`, where the file's block status takes waiting. */
export async function zeroInFile(file: BlockNode, status: BlockStatus): Promise<BlockStatus> {
  if (status.offset >= file.length) return { ...status, zero: true };
  return narrowed(file, status, await file.blockStatus(status.offset, inside(file, status)));
}

function inside(file: BlockNode, { offset, length }: BlockStatus): number {
  return Math.min(length, file.length - offset);
}

/** A hole that reaches the end of the file includes the rest of the run, which reads as zeroes. */
function narrowed(file: BlockNode, status: BlockStatus, { length, zero }: BlockStatus): BlockStatus {
  const whole = zero && status.offset + length >= file.length;
  return { ...status, zero, length: whole ? status.length : length };
}
