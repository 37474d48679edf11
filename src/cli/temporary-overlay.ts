// An overlay for writes that are to be thrown away (`--snapshot`).

import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { BlockNode } from '../block/node/node.js';
import type { OpenOptions } from '../block/open.js';
import { nodeError } from '../host/errno.js';
import { BlockError } from '../util/errors.js';
import { reasonInWords } from '../util/system-words.js';
import { addTemporaryOverlay } from '../workspace/served-image.js';
import type { Session } from './session.js';

/** Puts a temporary overlay on `image`. Its file is removed from its folder at once, so that nobody else can open it. */
export async function addOverlay(
  { graph }: Session,
  image: BlockNode,
  how: Pick<OpenOptions, 'discard' | 'detectZeroes' | 'cache' | 'readOnly'>,
): Promise<BlockNode> {
  const parent = process.env['TMPDIR'] || '/var/tmp';
  let folder: string | null = null;
  try {
    folder = await mkdtemp(join(parent, 'diskwright-'));
    // The file's space is freed when this process closes it.
    return await addTemporaryOverlay(graph, image, folder, how);
  } catch (cause) {
    const failure = nodeError(cause, { operation: 'create', path: parent });
    throw new BlockError(
      failure.code,
      `Could not create a temporary overlay in '${parent}': ${reasonInWords(failure)}`,
      { path: parent, errno: failure.errno, cause },
    );
  } finally {
    if (folder !== null) await rm(folder, { recursive: true, force: true });
  }
}
