// The driver definition of bochs: how an image is opened.

import { readOnlyUse } from '../../../block/node/read-only-format.js';
import type { DriverDefinition } from '../../../block/registry.js';
import { openByHead } from '../../../block/stale.js';
import { BochsNode } from './driver.js';
import { HEADER_BYTES, readHead } from './header.js';

export const bochsDriver: DriverDefinition<'bochs'> = {
  name: 'bochs',
  kind: 'format',
  open: async (request) => {
    const file = await request.openChild('file', null, 'image');
    const { node, permissions } = readOnlyUse(request, file);
    return openByHead({ ...request, node }, file, readHead, (bytes) => {
      const [head, catalog] = [bytes.subarray(0, HEADER_BYTES), bytes.subarray(HEADER_BYTES)];
      return new BochsNode(request.graph, node, file, head, catalog, permissions);
    });
  },
};
