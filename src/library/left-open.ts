// Images that a program leaves open when nothing keeps it running any more. What their drivers hold back (the tables of a qcow2 image) would be lost
// then, and with it data that was written: so they are flushed, and a warning names them.
//
//   the event loop is empty --beforeExit--> flush what has changed since the last one --> a warning for each, and the process ends
//
// A process that ends otherwise (process.exit, an exception, a signal) gives no time for it: only `flush` and `close` keep what was written there.

import { WARNING } from '../util/diagnostics.js';

/** What this module needs of an image. */
export interface MayBeLeftOpen {
  readonly filename: string;
  /** It was changed since the last flush. */
  readonly changed: boolean;
  flush(): Promise<void>;
}

/** By what they belong to, the graph of a workspace. */
const open = new Map<object, Set<MayBeLeftOpen>>();
let watching = false;

/** From now on `image` is flushed at the end of the program, until the function that is returned was called. */
export function whileOpen(graph: object, image: MayBeLeftOpen): () => void {
  if (!watching) process.on('beforeExit', flushAll);
  watching = true;
  const images = open.get(graph) ?? new Set();
  open.set(graph, images.add(image));
  return () => {
    images.delete(image);
    if (images.size === 0 && open.get(graph) === images) open.delete(graph);
  };
}

/** All images of `graph` are closed. */
export function allClosed(graph: object): void {
  open.delete(graph);
}

function flushAll(): void {
  for (const images of open.values()) {
    for (const image of images) if (image.changed) void flushOne(images, image);
  }
}

/** Never rejects. */
async function flushOne(images: Set<MayBeLeftOpen>, image: MayBeLeftOpen): Promise<void> {
  const left = `'${image.filename}' was not closed before the end of the program`;
  try {
    await image.flush();
    process.emitWarning(`${left}; what was written is flushed`, WARNING);
  } catch (error) {
    // Not again: an image that cannot be flushed would keep the process running.
    images.delete(image);
    process.exitCode ||= 1;
    process.emitWarning(`${left}, and the flush failed: data may be lost: ${(error as Error).message}`, WARNING);
  }
}
