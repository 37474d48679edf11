// Finding a layer of a chain by the name that a person or a program has for it, as QEMU does: a relative name counts from the folder of the
// image whose backing file it would be, layer by layer, and not from the current directory.

import { toBlockError } from '../util/errors.js';
import { chainOf } from './chain.js';
import { isPath, resolveBackingNameOf } from './filename.js';
import { backingFileOf } from './node/format.js';
import type { BlockNode } from './node/node.js';

/** The layer below `top` that `name` names: a path to its file, or, of what is no file, exactly its name. Null where there is none. */
export async function findLayer(top: BlockNode, name: string): Promise<BlockNode | null> {
  const chain = chainOf(top);
  for (const [i, node] of chain.slice(1).entries()) {
    if (await names(chain[i], node, name)) return node;
  }
  return null;
}

async function names(overlay: BlockNode, node: BlockNode, name: string): Promise<boolean> {
  if (!isPath(name) || !isPath(node.filename)) return name === node.filename || name === backingFileOf(overlay);
  const wanted = await realPath(node, resolveBackingNameOf(overlay, name));
  return wanted !== null && wanted === (await realPath(node, node.filename));
}

/** Null where there is no such file. */
async function realPath({ host }: BlockNode, path: string): Promise<string | null> {
  try {
    return await host.realPath(path);
  } catch (error) {
    const { code } = toBlockError(error);
    if (code === 'internal') throw error;
    return null;
  }
}
