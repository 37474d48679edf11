// An image that another program changes while it is opened: the header is read before the node can take its lock, as the header says what is to be locked.
// So it is looked at again once there is a lock, and where it is another one by then, it is opened anew: a file looks at its size, whatever lies in it; a format
// that has a header, at that.

import { BlockError } from '../util/errors.js';

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
