// The nodes that `diskwright nbd` serves:
//
//   device --> [raw window: --offset] --> [temporary overlay: --snapshot] --> the image and its chain

import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { BlockNode } from '../../block/node/node.js';
import { openNode } from '../../block/open.js';
import { parseImageOptions } from '../../schema/options.js';
import { BlockError, toBlockError } from '../../util/errors.js';
import { addTemporaryOverlay, addWindow } from '../../workspace/served-image.js';
import { reasonOf, type Session } from '../session.js';
import type { ServePlan } from './plan.js';

/** Rejects with what is wrong with the image, in qemu-nbd's words. */
export async function openServedImage(session: Session, plan: ServePlan): Promise<BlockNode> {
  const image = await openBase(session, plan);
  const content = plan.snapshot ? await addOverlay(session, image, plan) : image;
  return plan.offset === null ? content : addWindow(session.graph, content, plan.offset);
}

async function openBase({ graph }: Session, plan: ServePlan): Promise<BlockNode> {
  const { image, imageOpts, format, cache } = plan;
  const readOnly = plan.readOnly || plan.snapshot;
  try {
    return await openNode(graph, imageOpts ? parseImageOptions(image) : image, {
      format,
      readOnly,
      cache,
      ...(readOnly ? {} : { discard: plan.discard, detectZeroes: plan.detectZeroes }),
    });
  } catch (cause) {
    const error = toBlockError(cause);
    throw new BlockError(error.code, `Failed to blk_new_open '${image}': ${reasonOf(error)}`, { cause });
  }
}

/** What is written goes to a file that nobody else can see: it has lost its name by the time the first client comes. */
async function addOverlay({ graph }: Session, image: BlockNode, plan: ServePlan): Promise<BlockNode> {
  const parent = process.env['TMPDIR'] || '/var/tmp';
  let folder: string | null = null;
  try {
    folder = await mkdtemp(join(parent, 'diskwright-'));
    // It ends with this process.
    return await addTemporaryOverlay(graph, image, folder, plan);
  } catch (cause) {
    const { code, message } = toBlockError(cause, { path: parent });
    throw new BlockError(code, `Could not make a temporary overlay in '${parent}': ${message}`, {
      path: parent,
      cause,
    });
  } finally {
    if (folder !== null) await rm(folder, { recursive: true, force: true });
  }
}
