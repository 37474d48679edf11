// Copies a run of an image's bytes into a new image, as `qemu-img dd`.
//
//   source   |......|===============================|..|.........|
//                   skip                 whole sectors  rest
//   target          |===============================|..|00|          made of whole sectors

import { type Child, type NodeUser, withLink } from '../block/child.js';
import { compresses } from '../block/compression.js';
import { checkCreateOptions, createImage, type ImageCreateOptions, readsAsZeroes } from '../block/create.js';
import type { Graph } from '../block/graph.js';
import { holdTarget } from '../block/hold.js';
import type { BlockNode } from '../block/node/node.js';
import { openNode } from '../block/open.js';
import { defaultDriver } from '../block/registry.js';
import { PERM_ALL, Perm } from '../block/types.js';
import { convert } from '../jobs/convert.js';
import { validate } from '../schema/validate.js';
import { refuseAborted } from '../util/abort.js';
import { bestEffort } from '../util/best-effort.js';
import { roundDown, SECTOR_BYTES } from '../util/numbers.js';
import { type ImageOpener, openTargetOf } from './open.js';

export interface BlocksPlan {
  /** An image that is open and held for a copy. */
  source: BlockNode;
  /** The bytes of the source that are copied; they lie within it. */
  offset: number;
  length: number;
  /** File name of the new image; one that is there is replaced. */
  target: string;
  options: ImageCreateOptions;
  /** Default: `openNode`. */
  open?: ImageOpener;
  signal?: AbortSignal;
  /** Bytes that are copied, and all of them. */
  onProgress?: (current: number, total: number) => void;
  /** `create`: the target is made; `copy`: it is written. */
  onStage?: (stage: 'create' | 'copy') => void;
}

/** Makes the target, copies, and closes it. Rejects with `cancelled` after an abort, as `createImage`, and with what either side fails with; the target is incomplete then. */
export async function copyBlocks(graph: Graph, plan: BlocksPlan): Promise<void> {
  const { source, target: image, open, signal, onStage } = plan;
  onStage?.('create');
  const options = checkCreateOptions(plan.options, image, graph);
  refuseAborted(signal);
  const made = await createImage(graph, image, options);
  const target = await openTargetOf(graph, source, { image, made, open }, { format: options.driver });
  let held: Child | null = null;
  try {
    held = holdTarget(target);
    onStage?.('copy');
    await copyInto(graph, plan, target);
  } catch (error) {
    if (held !== null) target.detach(held);
    await graph.release(target).catch(bestEffort('closing after a failure'));
    throw error;
  }
  target.detach(held);
  await graph.release(target);
}

async function copyInto(
  graph: Graph,
  { source, offset, length, signal, onProgress }: BlocksPlan,
  target: BlockNode,
): Promise<void> {
  const whole = roundDown(length, SECTOR_BYTES);
  const progress = onProgress && ((current: number): void => onProgress(Math.min(current, length), length));
  if (whole > 0) {
    const options = { driver: defaultDriver('window').name, offset, size: whole, file: source.nodeName };
    const window = await openNode(graph, validate('BlockdevOptions', options), { readOnly: true });
    try {
      const targetIsZero = readsAsZeroes(target) || undefined;
      await convert({ source: window, target, targetIsZero, signal, onProgress: progress });
    } finally {
      await graph.release(window);
    }
  }
  if (whole === length) return;
  await copyRest({ source, offset: offset + whole }, target, whole, length - whole);
  progress?.(length);
}

/** Writes the last `length` bytes, less than a sector. */
async function copyRest(
  from: { source: BlockNode; offset: number },
  target: BlockNode,
  at: number,
  length: number,
): Promise<void> {
  const user: NodeUser = { userName: 'dd' };
  const reading = { user, role: 'source', perm: Perm.CONSISTENT_READ, shared: PERM_ALL } as const;
  const writing = { user, role: 'target', perm: Perm.CONSISTENT_READ | Perm.WRITE, shared: PERM_ALL } as const;
  const rest = new Uint8Array(length);
  await withLink(from.source, reading, (link) => link.read(from.offset, rest));
  await withLink(target, writing, async (link) => {
    await link.write(at, rest, compresses(target, false) ? { compressed: true } : undefined);
    await link.flush();
  });
}
