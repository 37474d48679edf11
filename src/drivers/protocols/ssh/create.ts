// Makes a file on another machine.

import { refuseUsedStorage } from '../../../block/identity.js';
import type { CreateRequest } from '../../../block/registry.js';
import { storageIdOf } from './driver.js';
import { openRemote } from './open-file.js';

/** Creates the file with `size` bytes of zeroes; an existing one is emptied first. Rejects with `locked` where a node of the graph is stored in it, and as the server answers. */
export async function createRemote({ graph, options }: CreateRequest<'ssh'>): Promise<void> {
  const { location, size } = options;
  const id = storageIdOf(graph, location);
  await refuseUsedStorage(graph, id, id);
  const { session, file } = await openRemote(graph, location, 'create');
  try {
    if (size > 0) await file.truncate(size);
    if (file.syncs) await file.sync();
  } finally {
    await session.close();
  }
}
