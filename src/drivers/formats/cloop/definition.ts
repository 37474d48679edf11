// The driver definition of cloop: how an image is opened.

import { readOnlyUse } from '../../../block/node/read-only-format.js';
import type { DriverDefinition } from '../../../block/registry.js';
import { openByHead } from '../../../block/stale.js';
import { CloopNode } from './driver.js';
import { HEADER_BYTES, readHead } from './header.js';

export const cloopDriver: DriverDefinition<'cloop'> = {
  name: 'cloop',
  kind: 'format',
  open: async (request) => {
    const file = await request.openChild('file', null, 'image');
    const { node, permissions } = readOnlyUse(request, file);
    return openByHead({ ...request, node }, file, readHead, (bytes) => {
      const [head, offsets] = [bytes.subarray(0, HEADER_BYTES), bytes.subarray(HEADER_BYTES)];
      return new CloopNode(request.graph, node, file, head, offsets, permissions);
    });
  },
};
