// The steps of an amend of an open image, each alone with it:
//
//   check the options again -> change the header (amend.ts) -> open what is in the file in the place of what is in memory
//
// Between two steps guests go on, and snapshots, bitmaps or another amend may come: that is why each step checks again.

import type { PreparedAmend } from '../../../block/abilities.js';
import { bestEffort } from '../../../util/best-effort.js';
import { type AmendPlan, amendAfter, amendBefore, planAmend, type Qcow2AmendOptions } from './amend.js';
import type { Qcow2Image } from './image.js';

/** The node of the image. */
export interface AmendedNode {
  /** The image in memory, another one after each step. */
  image(): Qcow2Image;
  /** There are bitmaps to be stored that the image on disk does not know of yet. */
  hasNewBitmaps(): boolean;
  /** Runs `action` while no request is under way. */
  alone(action: () => Promise<void>): Promise<void>;
  /** Opens what is in the file, which after a failure (`isUnsure`) may not be what is on the disk. Where that fails, the image is not written any more. */
  openAgain(isUnsure: boolean): Promise<void>;
}

/** Checks `options`, and resolves with the steps before the size is changed and after that. Rejects as `planAmend`. */
export async function prepareAmend(options: Qcow2AmendOptions, node: AmendedNode): Promise<PreparedAmend> {
  const { version, ...before } = await checkAmend(options, node);
  const step = (change: () => Promise<boolean>): Promise<void> =>
    node.alone(async () => {
      await checkAmend(options, node);
      await reopenAfter(node, change);
    });
  return {
    before: async (progress) => {
      const plans: AmendPlan[] = version === 3 ? [{ version }] : [];
      if (before.refcountBits !== undefined) plans.push({ refcountBits: before.refcountBits });
      plans.push({ ...before, refcountBits: undefined });
      for (const plan of plans) await step(() => amendBefore(node.image(), plan, progress));
    },
    after: async (progress) => {
      if (version !== 2) return;
      await step(async () => {
        await amendAfter(node.image(), progress);
        return true;
      });
    },
  };
}

async function checkAmend(options: Qcow2AmendOptions, node: AmendedNode): Promise<AmendPlan> {
  const image = node.image();
  const plan = await planAmend(image, options);
  if (plan.version !== 2 || !node.hasNewBitmaps()) return plan;
  throw image.error('invalid-argument', 'Cannot downgrade an image with bitmaps', 'amend');
}

/** Runs `change`, which may leave another image in the file than is in memory: where it says so, and where it rejects, that is opened in its place. */
async function reopenAfter(node: AmendedNode, change: () => Promise<boolean>): Promise<void> {
  const image = node.image();
  // From here on, nothing is lost where what is in memory is dropped. The second one writes the refcounts that the first one lowered.
  await image.commit();
  await image.commit();
  try {
    if (!(await change())) return;
    await image.commit();
    await image.trim();
  } catch (error) {
    await node.openAgain(true).catch(bestEffort('opening an image again'));
    throw error;
  }
  await node.openAgain(false);
}
