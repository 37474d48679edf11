// A folder of a test's own that is shown as a disk, on the real host.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Graph } from '../../../src/block/graph.js';
import type { BlockNode } from '../../../src/block/node/node.js';
import { openNode } from '../../../src/block/open.js';
import { Perm } from '../../../src/block/types.js';
import { registerDrivers } from '../../../src/drivers/index.js';
import { openRealHost, type RealHost } from '../../../src/host/real/index.js';
import { linkTo } from '../support.js';

/** Bytes of the disk at which the file system of a hard disk begins. */
export const PARTITION_BYTES = 63 * 512;

export class FolderLab {
  readonly root = mkdtempSync(join(tmpdir(), 'diskwright-vvfat-'));
  readonly host: RealHost = openRealHost();
  readonly graph: Graph;
  readonly #open: BlockNode[] = [];

  constructor() {
    registerDrivers();
    this.graph = new Graph(this.host, { warn: () => undefined });
  }

  path(...names: string[]): string {
    return join(this.root, ...names);
  }

  /** Makes a file, and the folders that it lies in. */
  write(name: string, content: string | Uint8Array = name): void {
    const path = this.path(name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content);
  }

  async open(own: object = {}, folder = 'disk'): Promise<BlockNode> {
    mkdirSync(this.path(folder), { recursive: true });
    const node = await openNode(this.graph, { driver: 'vvfat', dir: this.path(folder), 'read-only': true, ...own });
    this.#open.push(node);
    linkTo(node, Perm.CONSISTENT_READ);
    return node;
  }

  /** The file system of the disk, without the rest of a hard disk. */
  async fileSystem(own: { floppy?: boolean; 'fat-type'?: number; label?: string } = {}): Promise<Uint8Array> {
    const node = await this.open(own);
    const bytes = await bytesOf(node);
    return own.floppy ? bytes : bytes.subarray(PARTITION_BYTES);
  }

  async close(): Promise<void> {
    for (const node of this.#open.splice(0)) {
      for (const link of [...node.parents]) node.detach(link);
      await this.graph.release(node);
    }
    await this.host.close();
    rmSync(this.root, { recursive: true });
  }
}

export async function bytesOf(node: BlockNode, offset = 0, length = node.length - offset): Promise<Uint8Array> {
  // What is not filled shows.
  const bytes = new Uint8Array(length).fill(0xee);
  await node.read(offset, bytes);
  return bytes;
}
