// The nodes that `diskwright nbd` serves:
//
//   device --> [raw window: --offset] --> [temporary overlay: --snapshot] --> the image and its chain, or an internal snapshot of it: --load-snapshot

import type { BlockNode } from '../../block/node/node.js';
import { openNode } from '../../block/open.js';
import { parseImageOptions } from '../../schema/options.js';
import { BlockError, toBlockError } from '../../util/errors.js';
import { addWindow } from '../../workspace/served-image.js';
import { reasonOf, type Session } from '../session.js';
import { showSnapshot } from '../snapshot-param.js';
import { addOverlay } from '../temporary-overlay.js';
import { notOpened } from './not-opened.js';
import type { ServePlan } from './plan.js';

/** Opens these nodes, and resolves with the topmost. Rejects with an error in qemu-nbd's words. */
export async function openServedImage(session: Session, plan: ServePlan): Promise<BlockNode> {
  const image = await openBase(session, plan);
  if (plan.loads !== undefined) await showSnapshot(image, plan.loads);
  const content = plan.forgets
    ? await addOverlay(session, image, { discard: plan.discard, detectZeroes: plan.detectZeroes, cache: plan.cache })
    : image;
  return plan.offset === null ? content : addWindow(session.graph, content, plan.offset);
}

async function openBase({ graph }: Session, plan: ServePlan): Promise<BlockNode> {
  const { image, imageOpts, format, cache } = plan;
  const readOnly = plan.readOnly || plan.forgets;
  try {
    return await openNode(graph, imageOpts ? parseImageOptions(image) : image, {
      format,
      readOnly,
      cache,
      ...(readOnly ? {} : { discard: plan.discard, detectZeroes: plan.detectZeroes }),
    });
  } catch (cause) {
    const error = toBlockError(cause);
    throw new BlockError(error.code, notOpened(image, reasonOf(error)), { cause });
  }
}
