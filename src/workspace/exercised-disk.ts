// A disk that a person exercises by single requests: `diskwright io`. It is a user of a node as a device is, without throttle and drained sections, and
// its requests go to the node as they are asked for.
//
//   disk --root--> [copy-on-read] --> [temporary overlay] --> the image and its chain

import { fileOf } from '../block/chain.js';
import { type Child, type NodeUser, UNNAMED_DEVICE } from '../block/child.js';
import type { Breakpoints } from '../block/debug-events.js';
import { NodeLinks } from '../block/node/links.js';
import type { BlockNode } from '../block/node/node.js';
import { openNode } from '../block/open.js';
import { changeOptions } from '../block/reopen.js';
import { PERM_ALL, Perm, type TruncateOptions } from '../block/types.js';
import { validate } from '../schema/validate.js';
import { bestEffort } from '../util/best-effort.js';
import { BlockError } from '../util/errors.js';
import { releaseImage } from './open.js';

/** A run of an image, as far as one look at its top layer tells. */
export interface AllocationRun {
  /** Bytes. */
  length: number;
  allocated: boolean;
}

/** The size is changed by few users only: until then others may use a raw image beside this one, as with qemu-io. */
function usualPermissions(image: BlockNode): number {
  return Perm.CONSISTENT_READ | (image.readOnly ? 0 : Perm.WRITE);
}

export class ExercisedDisk implements NodeUser {
  readonly userName = UNNAMED_DEVICE;
  /** The image, below the filter that copies what is read. */
  readonly image: BlockNode;
  /** Each write is durable when it is answered. */
  writethrough: boolean;
  readonly #root: Child;
  readonly #underWay = new Set<Promise<unknown>>();

  /** Takes `root` over, which leads to `image`; without an error it is closed by `close`. Throws `permission`, `locked`. */
  constructor(root: BlockNode, image: BlockNode, writethrough: boolean) {
    this.image = image;
    this.writethrough = writethrough;
    this.#root = root.attach(this, 'root', usualPermissions(image), PERM_ALL);
  }

  get readOnly(): boolean {
    return this.image.readOnly;
  }

  /** Size, bytes. */
  get length(): number {
    return this.#root.length;
  }

  /** Requests that were begun with `inBackground` and are not answered. */
  get pending(): number {
    return this.#underWay.size;
  }

  /** Where requests can be held up; null where no node below can do that. */
  get breakpoints(): Breakpoints | null {
    for (let node: BlockNode | null = this.#root.node; node !== null; node = fileOf(node)) {
      const { breakpoints } = node.abilities;
      if (breakpoints !== undefined) return breakpoints;
    }
    return null;
  }

  /** Fills `buffer`. Rejects as `BlockNode.read`. */
  read(offset: number, buffer: Uint8Array): Promise<void> {
    return this.#root.read(offset, buffer);
  }

  /** Rejects as `BlockNode.write`, and with `invalid-argument` where what is to be compressed is no whole clusters. */
  async write(offset: number, buffer: Uint8Array, flags: { fua: boolean; compressed: boolean }): Promise<void> {
    const { clusterBytes } = this.image;
    const end = offset + buffer.length;
    const isWhole = offset % clusterBytes === 0 && (end % clusterBytes === 0 || end === this.length);
    if (flags.compressed && clusterBytes > 0 && !isWhole) {
      throw new BlockError('invalid-argument', `clusters of ${clusterBytes} bytes are compressed as a whole`);
    }
    await this.#root.write(offset, buffer, { ...flags, fua: flags.fua || this.writethrough });
  }

  /** Rejects as `BlockNode.writeZeroes`. */
  writeZeroes(
    offset: number,
    length: number,
    flags: { fua: boolean; mayUnmap: boolean; noFallback: boolean },
  ): Promise<void> {
    return this.#root.writeZeroes(offset, length, { ...flags, fua: flags.fua || this.writethrough });
  }

  /** Rejects as `BlockNode.discard`. */
  discard(offset: number, length: number): Promise<void> {
    return this.#root.discard(offset, length);
  }

  flush(): Promise<void> {
    return this.#root.flush();
  }

  /** Rejects as `BlockNode.truncate`, and with `permission` and `locked` where another user does not let the size change. From then on nobody else may change it. */
  async truncate(size: number, options: TruncateOptions): Promise<void> {
    const { perm } = this.#root;
    NodeLinks.changePermissions(this.#root, perm | Perm.WRITE | Perm.RESIZE, PERM_ALL);
    await this.#root.truncate(size, options);
  }

  /** Reads the state of the machine that is being stored. Rejects with `unsupported` where the format has no place for it. */
  async readVmState(offset: number, buffer: Uint8Array): Promise<void> {
    await this.#vmState().readVmState(offset, buffer);
  }

  /** Writes it. Rejects as `readVmState`, and with `limit`, `no-space`, `io`. */
  async writeVmState(offset: number, buffer: Uint8Array): Promise<void> {
    await this.#vmState().writeVmState(offset, buffer);
  }

  #vmState() {
    const { snapshots } = this.image.abilities;
    if (snapshots !== undefined) return snapshots;
    throw new BlockError('unsupported', `'${this.image.driver}' has no place for the state of a machine`);
  }

  /** The longest run at `offset`, at most `length`, that the image has allocated itself, or has not. */
  async allocationAt(offset: number, length: number): Promise<AllocationRun> {
    const run: AllocationRun = { length: 0, allocated: false };
    while (run.length < length) {
      const found = await this.image.blockStatus(offset + run.length, length - run.length);
      const allocated = found.allocated && found.inherited !== true;
      if (run.length > 0 && allocated !== run.allocated) break;
      run.allocated = allocated;
      run.length += found.length;
    }
    return run;
  }

  /** Keeps `request` among those that `settle` waits for. It must not reject. */
  inBackground(request: Promise<unknown>): void {
    const kept = request.finally(() => this.#underWay.delete(kept));
    this.#underWay.add(kept);
  }

  /** Resolves when the requests in the background are answered. */
  async settle(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.all(this.#underWay);
  }

  /**
   * Gives the image other options: dotted names and what they are to be; the others stay. Where it rejects, all is as it was. Rejects as `reopenNodes`, and
   * with `invalid-argument` where it is to become read-only below copy-on-read.
   */
  async reopen(options: ReadonlyMap<string, string | boolean>, readOnly: boolean): Promise<void> {
    if (this.#root.node !== this.image && readOnly !== this.readOnly) {
      const node = this.image.nodeName;
      throw new BlockError('invalid-argument', `Can't set node '${node}' to r/o with copy-on-read enabled`);
    }
    const { perm } = this.#root;
    if (readOnly) NodeLinks.changePermissions(this.#root, Perm.CONSISTENT_READ, PERM_ALL);
    try {
      await changeOptions(this.image, options);
      if (!this.image.readOnly) NodeLinks.changePermissions(this.#root, perm | usualPermissions(this.image), PERM_ALL);
    } catch (error) {
      if (this.#root.perm !== perm && !this.image.readOnly) NodeLinks.changePermissions(this.#root, perm, PERM_ALL);
      throw error;
    }
  }

  /** Lets go on what is held up, waits for all requests, flushes and closes. Rejects where what was written cannot be flushed. */
  async close(): Promise<void> {
    const { node } = this.#root;
    node.abortStalled();
    await this.settle();
    node.detach(this.#root);
    await releaseImage(node.graph, node);
  }
}

/** Puts a filter on `image` that stores what is read from its backing files. Rejects with `read-only`; then `image` is closed. */
export async function addCopyOnRead(image: BlockNode): Promise<BlockNode> {
  const { graph } = image;
  try {
    const options = validate('BlockdevOptions', { driver: 'copy-on-read', file: image.nodeName });
    return await openNode(graph, options, { discard: image.discardMode });
  } catch (error) {
    await graph.release(image).catch(bestEffort('closing after a failure'));
    throw error;
  }
}
