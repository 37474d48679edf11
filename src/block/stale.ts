// An image that another program changes while it is opened: the header is read before the node can take its lock, as the header says what is to be locked.
// So a driver looks again once it has the lock, and where the image is another one by then, it is opened anew.

import { BlockError } from '../util/errors.js';
import { roundUp, SECTOR_BYTES } from '../util/numbers.js';
import { storageOf } from './chain.js';
import type { BlockNode } from './node/node.js';

const REASON = 'The image was changed by another program while it was being opened';
/** How often an image is opened that is always changed meanwhile. */
const MAX_ATTEMPTS = 5;

/** Runs `open` again where it rejects with `changedMeanwhile`. */
export async function openUnchanged<T>(open: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await open();
    } catch (error) {
      const isStale = error instanceof BlockError && error.reason === REASON;
      if (!isStale || attempt === MAX_ATTEMPTS) throw error;
    }
  }
}

export function changedMeanwhile(filename: string): BlockError {
  return BlockError.at(filename, 'locked', REASON, { operation: 'open' });
}

/** Whether the host's file that `node` lies in has the size that it was taken to have. Where there is none, nobody else changes it. Rejects with `io`. */
export async function hasItsSize(node: BlockNode): Promise<boolean> {
  const storage = storageOf(node);
  const host = storage.hostFile();
  return host === null || roundUp(await host.size(), SECTOR_BYTES) === storage.length;
}
