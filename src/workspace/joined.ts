// Images one behind the other, read as one: what `convert` of several sources copies.
//
//   joined    |--- children.0 ---|-- children.1 --|0|--- children.2 ---|
//
// Each begins at a multiple of a sector, as qemu-img has it: what is missing of the last sector of the one before reads as zeroes.

import { passedStatus, passedStatusSync } from '../block/chain.js';
import type { Child } from '../block/child.js';
import { nameAsOptions } from '../block/filename.js';
import type { Graph } from '../block/graph.js';
import { checkImageSize } from '../block/image-size.js';
import { BlockNode } from '../block/node/node.js';
import type { Permissions } from '../block/roles.js';
import { type BlockStatus, type Located, PERM_ALL, Perm } from '../block/types.js';
import type { ZeroScan } from '../host/host.js';
import { formatJsonFilename } from '../schema/options.js';
import { roundUp, SECTOR_BYTES } from '../util/numbers.js';
import { settleAll } from '../util/settle.js';

/** One of the images, and where it lies in the joined one, bytes. The next one begins at `end`. */
interface Part {
  link: Child;
  start: number;
  end: number;
  /** Bytes that the image has itself; zeroes follow up to `end`. */
  length: number;
}

/** It is only read. Sizes are those of the moment when it was made: whoever holds the images keeps them from changing. */
class JoinedNode extends BlockNode {
  override readonly driver = 'joined';
  override readonly kind = 'filter';
  override readonly reopens = false;
  override readonly filename: string;
  readonly #parts: Part[] = [];

  constructor(graph: Graph, images: readonly BlockNode[]) {
    super(graph, { nodeName: graph.makeName(), readOnly: true });
    this.filename = formatJsonFilename({ driver: this.driver, children: images.map((image) => nameAsOptions(image)) });
    for (const [index, image] of images.entries()) {
      const name = `children.${index}`;
      this.setChild(name, image, 'data', { perm: 0, shared: PERM_ALL });
      const { length } = image;
      const start = this.length;
      this.length += roundUp(length, SECTOR_BYTES);
      // An empty image holds no byte that anybody could ask for.
      if (length > 0) this.#parts.push({ link: this.children.get(name)!, start, end: this.length, length });
    }
  }

  /** What its users need of it, it needs of each. */
  override needsOf(_link: Child, perm: number, shared: number): Permissions {
    return { perm: perm & Perm.CONSISTENT_READ, shared };
  }

  override get fixedSize(): boolean {
    return true;
  }

  override async allocatedBytes(): Promise<number | null> {
    let sum = 0;
    for (const { node } of this.children.values()) sum += (await node.allocatedBytes()) ?? 0;
    return sum;
  }

  /** Index of the part that `offset`, which is within the node, lies in. */
  #indexOf(offset: number): number {
    let [low, high] = [0, this.#parts.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.#parts[middle].start <= offset) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  protected override doLocate(offset: number, length: number, write: boolean, into: Located): boolean {
    const { link, start } = this.#parts[this.#indexOf(offset)];
    // What ends in the next part lies behind the end of this one: it is not located.
    return !write && link.locate(offset - start, length, false, into);
  }

  protected override async doRead(offset: number, buffer: Uint8Array, scan?: ZeroScan): Promise<void> {
    const reads: Promise<void>[] = [];
    for (let done = 0, index = this.#indexOf(offset); done < buffer.length; index++) {
      const { link, start, end, length } = this.#parts[index];
      const at = offset + done - start;
      const piece = buffer.subarray(done, done + Math.min(buffer.length - done, end - start - at));
      const there = Math.max(0, Math.min(piece.length, length - at));
      if (there > 0) reads.push(link.read(at, piece.subarray(0, there)));
      piece.fill(0, there);
      done += piece.length;
    }
    await settleAll(reads);
    if (scan !== undefined) this.host.memory.zeroMap(buffer, scan.granule, scan.map);
  }

  override blockStatusSync(offset: number, length: number): BlockStatus | null {
    const { link, start, end, length: held } = this.#parts[this.#indexOf(offset)];
    const at = offset - start;
    if (at >= held) return zeroes(Math.min(length, end - offset));
    return passedStatusSync(link.node, at, Math.min(length, held - at));
  }

  protected override async doBlockStatus(offset: number, length: number): Promise<BlockStatus> {
    const { link, start, end, length: held } = this.#parts[this.#indexOf(offset)];
    const at = offset - start;
    if (at >= held) return zeroes(Math.min(length, end - offset));
    return passedStatus(link.node, at, Math.min(length, held - at));
  }
}

function zeroes(length: number): BlockStatus {
  return { length, allocated: true, data: false, zero: true, compressed: false, offset: -1, node: null };
}

/**
 * A node that reads as the images, one behind the other; it is read-only, and keeps them open until it is released. Throws `limit` where they are too
 * large together.
 */
export function joinImages(graph: Graph, images: readonly BlockNode[]): BlockNode {
  let bytes = 0n;
  for (const { length, filename } of images) {
    bytes += BigInt(roundUp(length, SECTOR_BYTES));
    checkImageSize(bytes, filename, 'convert');
  }
  const node = new JoinedNode(graph, images);
  graph.add(node);
  return node;
}
