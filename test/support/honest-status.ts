// What block status must never get wrong, whatever was done to an image: what a layer, or a chain, calls zero reads as zeroes, and what
// it calls not allocated reads as the layer below. Everything that copies relies on it.

import { backingOf, type ChainStatus, chainStatus, chainStatusSync } from '../../src/block/chain.js';
import type { BlockNode } from '../../src/block/node/node.js';
import { readNode } from '../drivers/support.js';
import { isZero } from './zeroes.js';

/** The first thing that the status of `top`'s chain says and a read does not; null where there is none. Reads every layer. */
export async function dishonestStatus(top: BlockNode): Promise<string | null> {
  for (let node: BlockNode | null = top; node !== null; node = backingOf(node)) {
    const content = await contentOf(node);
    const below = backingOf(node);
    const lower = below === null ? null : await contentOf(below);
    const found = (await againstReads(node, null, content, lower)) ?? (await againstReads(node, below, content, lower));
    if (found !== null) return found;
  }
  return null;
}

/** The chain from `node` down to (without) `base`, run by run. */
async function againstReads(
  node: BlockNode,
  base: BlockNode | null,
  content: Buffer,
  lower: Buffer | null,
): Promise<string | null> {
  for (let at = 0; at < node.length; ) {
    const status: ChainStatus = await chainStatus(node, base, at, node.length - at);
    const { length, allocated, zero, data } = status;
    const what = `${node.filename}: ${allocated ? 'allocated' : 'absent'}${zero ? ', zero' : ''} at ${at}+${length}`;
    const bytes = content.subarray(at, at + length);
    if (length < 1 || length > node.length - at) return `${what}: the length`;
    if (zero && !isZero(bytes)) return `${what}: reads otherwise`;
    if (!allocated && !zero && base === null) return `${what}: nobody can tell`;
    if (base !== null && status.depth < 0 && !bytes.equals(padded(lower as Buffer, at, length))) {
      return `${what}: reads otherwise than the layer below`;
    }
    const atOnce = chainStatusSync(node, base, at, node.length - at);
    if (atOnce !== null && (atOnce.allocated !== allocated || atOnce.zero !== zero || atOnce.data !== data)) {
      return `${what}: otherwise without waiting`;
    }
    at += length;
  }
  return null;
}

async function contentOf(node: BlockNode): Promise<Buffer> {
  const buffer = Buffer.alloc(node.length, 0xee);
  await readNode(node, 0, buffer);
  return buffer;
}

function padded(bytes: Buffer, start: number, length: number): Buffer {
  const out = Buffer.alloc(length);
  // What the layer below lacks reads as zeroes.
  bytes.subarray(start, start + length).copy(out);
  return out;
}
