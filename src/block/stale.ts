// An image that another program changes while it is opened: the header is read before the node can take its lock, as the header says what is to be locked.
// So it is looked at again once there is a lock, and where it is another one by then, it is opened anew: a file looks at its size, whatever lies in it; a format
// that has a header, at that.

import { BlockError } from '../util/errors.js';
import { type Child, readingUse, withLink } from './child.js';
import type { FormatNode } from './node/format.js';
import type { BlockNode } from './node/node.js';
import type { OpenRequest } from './registry.js';

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

/** Runs `action` with a link to read a file by, before the node that is opened has one. */
export type Look = <T>(action: (link: Child) => Promise<T>) => Promise<T>;

/**
 * Opens the image of a format by what `file` begins with. `read` reads all that decides how the image is opened, `make` makes the node from it, of which `file` becomes a child: through
 * that link it is read again, under the lock. Rejects as `read` and `make`, and with `changedMeanwhile`; whoever opens the node detaches its children then
 * (`NodeOptions.made`), and `make`'s caller closes what it has opened beside them.
 */
export async function openByHead<N extends FormatNode>(
  { node, onlyHeader }: Pick<OpenRequest, 'node' | 'onlyHeader'>,
  file: BlockNode,
  read: (link: Child) => Promise<Uint8Array>,
  make: (head: Uint8Array, look: Look) => N | Promise<N>,
): Promise<N> {
  const use = readingUse(`node '${node.nodeName}'`);
  const look: Look = (action) => withLink(file, use, action);
  const head = await look(read);
  const refuse = (link: Child): Promise<void> => refuseChanged({ node, onlyHeader }, link, read, head);
  let opened: N;
  try {
    opened = await make(head, look);
  } catch (error) {
    await look(refuse);
    throw error;
  }
  for (const link of opened.children.values()) if (link.node === file) await refuse(link);
  return opened;
}

/** Reads again, by a link that has its lock now, what `read` has given as `head` before. Rejects with `changedMeanwhile` where that is another one, and as `read`. */
export async function refuseChanged(
  { node, onlyHeader }: Pick<OpenRequest, 'node' | 'onlyHeader'>,
  link: Child,
  read: (link: Child) => Promise<Uint8Array>,
  head: Uint8Array,
): Promise<void> {
  // Whoever looks at this image alone takes it as it is.
  if (onlyHeader || node.forceShare) return;
  if (Buffer.compare(await read(link), head) !== 0) throw changedMeanwhile(link.node.filename);
}

/** Up to `length` bytes of the file from `offset` on: as many as it has. Rejects with `io`. */
export async function readUpTo(link: Child, length: number, offset = 0): Promise<Uint8Array> {
  const bytes = new Uint8Array(Math.max(0, Math.min(length, link.length - offset)));
  if (bytes.length > 0) await link.read(offset, bytes);
  return bytes;
}
