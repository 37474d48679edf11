// Free-space preflight: what a copy will write is compared with what the file system of its target has left, before it begins. It is an
// estimate (zeroes in the data, compression and clusters take less or more than they take on the source), so it warns and
// refuses nothing; and it is on the low side, so that it does not warn for nothing.

import { chainOf, storageOf } from '../block/chain.js';
import type { BlockNode } from '../block/node/node.js';
import type { MirrorSyncMode } from '../schema/generated/types.js';
import { toBlockError } from '../util/errors.js';
import { formatSize } from '../util/size.js';

/** What a copy reads and writes. */
export interface CopyScope {
  /** Layers whose own content is copied. */
  from: readonly BlockNode[];
  /** Only a part of it is copied, and it is not known how much: there is no estimate. */
  partly?: boolean;
  target: BlockNode;
  /** It writes where the target holds nothing itself (stream); otherwise what is there counts as overwritten. */
  fills?: boolean;
}

/** What a job from one image to another copies. */
export function copyScope(source: BlockNode, target: BlockNode, sync: MirrorSyncMode): CopyScope {
  return { from: sync === 'full' ? chainOf(source) : [source], target, partly: sync !== 'full' && sync !== 'top' };
}

/** Copies of less than this are not compared with the free space. */
const MIN_BYTES = 64 << 20;

/** Warns where the copy will hardly fit. Never rejects: without an estimate there is no warning, and the copy itself reports what is wrong. */
export async function warnOfSpace(scope: CopyScope, warn: (message: string) => void): Promise<void> {
  const { target } = scope;
  if (scope.partly) return;
  try {
    const file = storageOf(target).hostFile();
    if (file === null || file.kind !== 'file') return;
    const needed = await neededBytes(scope);
    if (needed < MIN_BYTES) return;
    const free = await target.host.freeSpace(file.path);
    if (free >= needed) return;
    warn(
      `WARNING: '${target.filename}' may not fit: about ${formatSize(needed)} will be written, ` +
        `and ${formatSize(free)} are free on its file system`,
    );
  } catch (error) {
    if (toBlockError(error).code === 'internal') throw error;
  }
}

async function neededBytes({ from, target, fills = false }: CopyScope): Promise<number> {
  const held = (await target.allocatedBytes()) ?? 0;
  let source = 0;
  for (const layer of from) source += (await layer.allocatedBytes()) ?? 0;
  return fills ? Math.min(source, target.length - held) : Math.min(source, target.length) - held;
}
