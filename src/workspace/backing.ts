// The name of the backing file in the header of an image that is open, without a change of the graph.

import { backingFormatFor } from '../block/backing-name.js';
import { backingOf } from '../block/chain.js';
import type { Graph } from '../block/graph.js';
import { needFormat } from '../block/node/format.js';
import type { BlockNode } from '../block/node/node.js';
import { BlockError, toBlockError } from '../util/errors.js';

/**
 * Writes `name` into the header of `image`, in a drained section; an image that is read-only is writable meanwhile. The name is not looked at: it may lead
 * anywhere, or nowhere. Rejects with `invalid-argument` for an image without a backing file and for a name that has no room in the header, with
 * `permission`, `locked`, `io`, ...
 */
export async function changeBackingName(graph: Graph, image: BlockNode, name: string): Promise<void> {
  const backing = backingOf(image);
  if (backing === null) {
    throw new BlockError('invalid-argument', 'not allowing backing file change on an image without a backing file');
  }
  if (image.kind === 'filter') {
    const words = `Could not change backing file to '${name}': Operation not supported`;
    throw new BlockError('unsupported', words, { path: image.filename });
  }
  const format = needFormat(image);
  await graph.drained([format], async () => {
    try {
      format.checkBackingChange(name, backingFormatFor(backing));
    } catch (cause) {
      const { code } = toBlockError(cause);
      const reason = code === 'unsupported' ? 'Operation not supported' : 'Invalid argument';
      throw new BlockError(code, `Could not change backing file to '${name}': ${reason}`, { cause });
    }
    const { readOnly } = format;
    if (readOnly) await format.reopen(false);
    try {
      await format.changeBackingFile(name, backingFormatFor(backing));
    } finally {
      if (readOnly) await format.reopen(true);
    }
  });
}
