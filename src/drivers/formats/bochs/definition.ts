// The driver definition of bochs: how an image is recognised and opened.

import { readOnlyUse } from '../../../block/node/read-only-format.js';
import type { DriverDefinition } from '../../../block/registry.js';
import { openByHead, readHead } from '../../../block/stale.js';
import { BochsNode } from './driver.js';
import { HEADER_BYTES, parseHeader } from './header.js';

export const bochsDriver: DriverDefinition<'bochs'> = {
  name: 'bochs',
  kind: 'format',
  open: async (request) => {
    const file = await request.openChild('file', null, 'image');
    const { node, permissions } = readOnlyUse(request, file);
    const path = file.filename;
    return openByHead(
      { ...request, node },
      file,
      async (link) => {
        const head = await readHead(link, HEADER_BYTES);
        const { catalogOffset, entries } = parseHeader(head, path);
        return Buffer.concat([head, await readHead(link, 4 * entries, catalogOffset)]);
      },
      (bytes) =>
        new BochsNode(
          request.graph,
          node,
          file,
          bytes.subarray(0, HEADER_BYTES),
          bytes.subarray(HEADER_BYTES),
          permissions,
        ),
    );
  },
};
