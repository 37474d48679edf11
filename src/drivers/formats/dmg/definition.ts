// The driver definition of dmg: how an image is opened, and the words of its checks.

import { readOnlyUse } from '../../../block/node/read-only-format.js';
import type { DriverDefinition } from '../../../block/registry.js';
import { openByHead } from '../../../block/stale.js';
import { DmgNode } from './driver.js';
import { DMG_FINDING_WORDS } from './finding-words.js';
import { parseLayout, readLayout } from './layout.js';

export const dmgDriver: DriverDefinition<'dmg'> = {
  name: 'dmg',
  kind: 'format',
  findingWords: DMG_FINDING_WORDS,
  open: async (request) => {
    const file = await request.openChild('file', null, 'image');
    const { node, permissions } = readOnlyUse(request, file);
    const opened = await openByHead(
      { ...request, node },
      file,
      readLayout,
      (bytes) => new DmgNode(request.graph, node, file, parseLayout(bytes, file.filename), permissions),
    );
    opened.warnOfUnreadable();
    return opened;
  },
};
