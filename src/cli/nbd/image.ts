// The nodes that `diskwright nbd` serves:
//
//   device --> [raw window: --offset] --> [temporary overlay: --snapshot] --> the image and its chain

import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { createImage } from '../../block/create.js';
import type { BlockNode } from '../../block/node/node.js';
import { openNode } from '../../block/open.js';
import { parseImageOptions } from '../../schema/options.js';
import { validate } from '../../schema/validate.js';
import { BlockError, toBlockError } from '../../util/errors.js';
import { reasonOf, type Session } from '../session.js';
import type { ServePlan } from './plan.js';

/** Rejects with what is wrong with the image, in qemu-nbd's words. */
export async function openServedImage(session: Session, plan: ServePlan): Promise<BlockNode> {
  const image = await openBase(session, plan);
  const content = plan.snapshot ? await addOverlay(session, image, plan) : image;
  return plan.offset === null ? content : addWindow(session, content, plan.offset);
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
    const filename = join(folder, 'overlay.qcow2');
    await createImage(graph, filename, { driver: 'qcow2', size: image.length });
    const options = { driver: 'qcow2', file: { driver: 'file', filename }, backing: image.nodeName };
    return await openNode(graph, validate('BlockdevOptions', options), {
      discard: plan.discard,
      detectZeroes: plan.detectZeroes,
      // It ends with this process: there is nothing to be made durable.
      cache: { direct: plan.cache.direct, noFlush: true },
    });
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

function addWindow({ graph }: Session, content: BlockNode, offset: number): Promise<BlockNode> {
  const options = { driver: 'raw', offset, file: content.nodeName };
  return openNode(graph, validate('BlockdevOptions', options), { readOnly: content.readOnly, discard: 'unmap' });
}
