// The changes that a transaction can be made of: each makes its change at once, and says how it is taken back (see `transaction.ts`).

import type { DirtyBitmap } from '../block/bitmap.js';
import { bitmapOf } from '../block/find-bitmap.js';
import type { Graph } from '../block/graph.js';
import type { BlockNode } from '../block/node/node.js';
import { appendOverlays, type OverlayPair } from '../block/snapshot.js';
import { createInternalSnapshot, deleteInternalSnapshot } from '../block/snapshot-changes.js';
import type { BegunJobs } from '../jobs/start.js';
import { addStoredBitmap, mergeBitmaps, type NewBitmap, removeStoredBitmap, storeBitmap } from './bitmap.js';
import { type SnapshotRequest, tryTakeSnapshots } from './snapshot.js';
import type { Prepared } from './transaction.js';

/** Adds a bitmap. Rejects as `addStoredBitmap`. */
export async function addingBitmap(node: BlockNode, name: string, options: NewBitmap): Promise<Prepared> {
  const bitmap = await addStoredBitmap(node, name, options);
  return {
    undo: async () => {
      if (node.bitmaps.get(name) !== bitmap) return;
      node.bitmaps.delete(name);
      await storeBitmap(node, bitmap);
    },
  };
}

/** Removes a bitmap: until all is prepared, it is there, and busy. Throws `not-found`, `busy`, `read-only`; its last step rejects as `removeStoredBitmap`. */
export function removingBitmap(node: BlockNode, name: string): Prepared {
  const bitmap = bitmapOf(node, name);
  bitmap.hold(true);
  return {
    undo: () => bitmap.unhold(),
    commit: () => {
      bitmap.unhold();
      return removeStoredBitmap(node, name);
    },
  };
}

/** Changes bits or the state of a bitmap. Throws as `change`. */
export function changingBitmap(bitmap: DirtyBitmap, change: (bitmap: DirtyBitmap) => void): Prepared {
  bitmap.checkUsable();
  const undo = bitmap.remember();
  change(bitmap);
  return { undo };
}

/** Adds bitmaps to one. Throws as `mergeBitmaps`. */
export function mergingBitmaps(target: DirtyBitmap, sources: readonly DirtyBitmap[]): Prepared {
  return changingBitmap(target, () => mergeBitmaps(target, sources));
}

/** Keeps a disk as it is now within its own file. Rejects as `createInternalSnapshot`. */
export async function takingInternalSnapshot(node: BlockNode, name: string): Promise<Prepared> {
  const { id } = await createInternalSnapshot(node, { name });
  return { undo: () => deleteInternalSnapshot(node, id) };
}

/** Jobs that run when all is prepared. */
export function startingJobs(begun: BegunJobs): Prepared {
  return { undo: () => begun.abandon(), commit: () => begun.launch() };
}

/** Puts an open overlay in its place. Rejects as `appendOverlays`. */
export async function puttingOverlay(graph: Graph, pair: OverlayPair): Promise<Prepared> {
  return { undo: await appendOverlays(graph, [pair]) };
}

/** Makes (or opens) an overlay and puts it in its place. Rejects as `takeSnapshots`. */
export async function takingSnapshot(graph: Graph, request: SnapshotRequest): Promise<Prepared> {
  const { overlays, undo } = await tryTakeSnapshots(graph, [request]);
  // Where nobody but the monitor held the node, nobody uses the overlay: it goes again, as it does in QEMU. Else it goes with its last user.
  return { undo, commit: () => graph.release(overlays[0]) };
}
