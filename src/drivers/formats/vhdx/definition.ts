// The driver definition of vhdx: how an image is recognised, opened and created.

import type { DriverDefinition, OpenRequest } from '../../../block/registry.js';
import { ROLES } from '../../../block/roles.js';
import { openByHead } from '../../../block/stale.js';
import { BlockError } from '../../../util/errors.js';
import { checkVhdxCreate, createVhdx, measureVhdx, VHDX_CREATE_OPTIONS } from './create.js';
import { VhdxNode } from './driver.js';
import { VHDX_FINDING_WORDS } from './finding-words.js';
import { readVhdxHead } from './header.js';
import { readImage } from './image.js';

async function openVhdx(request: OpenRequest<'vhdx'>): Promise<VhdxNode> {
  const { graph, node, use, forRepair } = request;
  const file = await request.openChild('file', null, 'image');
  const opening = { file, permissions: ROLES.image.permissions(use) };
  const opened = await openByHead(request, file, readVhdxHead, async (head, look) => {
    const image = await look((link) => readImage(link, head));
    if (image.parameters.hasParent) throw isDifferencing(file.filename);
    return new VhdxNode(graph, node, image, opening);
  });
  if (!node.readOnly && !forRepair) await opened.becomeWritable();
  return opened;
}

function isDifferencing(path: string): BlockError {
  const reason = 'A differencing VHDX image, which holds only what its parent does not, is not supported';
  return BlockError.at(path, 'unsupported', reason, { operation: 'open' });
}

export const vhdxDriver: DriverDefinition<'vhdx'> = {
  name: 'vhdx',
  kind: 'format',
  get createOptions() {
    return VHDX_CREATE_OPTIONS;
  },
  get findingWords() {
    return VHDX_FINDING_WORDS;
  },
  clusterMember: 'block-size',
  open: openVhdx,
  checkCreate: (options, path) => checkVhdxCreate(options, path),
  measure: (request) => measureVhdx(request),
  create: (request) => createVhdx(request),
};
