// The driver definition of cloop: how an image is recognised and opened.

import { readOnlyUse } from '../../../block/node/read-only-format.js';
import type { DriverDefinition } from '../../../block/registry.js';
import { openByHead, readHead } from '../../../block/stale.js';
import { CloopNode } from './driver.js';
import { HEADER_BYTES, parseHeader } from './header.js';

export const cloopDriver: DriverDefinition<'cloop'> = {
  name: 'cloop',
  kind: 'format',
  open: async (request) => {
    const file = await request.openChild('file', null, 'image');
    const { node, permissions } = readOnlyUse(request, file);
    return openByHead(
      { ...request, node },
      file,
      async (link) => {
        const head = await readHead(link, HEADER_BYTES);
        const { blocks } = parseHeader(head, file.filename);
        return Buffer.concat([head, await readHead(link, 8 * (blocks + 1), HEADER_BYTES)]);
      },
      (bytes) => {
        const [head, offsets] = [bytes.subarray(0, HEADER_BYTES), bytes.subarray(HEADER_BYTES)];
        return new CloopNode(request.graph, node, file, head, offsets, permissions);
      },
    );
  },
};
