// The driver definition of vdi: how an image is opened and created.

import type { DriverDefinition, OpenRequest } from '../../../block/registry.js';
import { ROLES } from '../../../block/roles.js';
import { openByHead, readUpTo } from '../../../block/stale.js';
import { checkVdiCreate, createVdi, measureVdi, VDI_CREATE_OPTIONS } from './create.js';
import { VdiNode } from './driver.js';
import { VDI_FINDING_WORDS } from './finding-words.js';
import { HEADER_BYTES } from './header.js';

async function openVdi(request: OpenRequest<'vdi'>): Promise<VdiNode> {
  const { graph, node, use } = request;
  const file = await request.openChild('file', null, 'image');
  return openByHead(
    request,
    file,
    (link) => readUpTo(link, HEADER_BYTES),
    (head) => new VdiNode(graph, node, file, head, ROLES.image.permissions(use)),
  );
}

export const vdiDriver: DriverDefinition<'vdi'> = {
  name: 'vdi',
  kind: 'format',
  get createOptions() {
    return VDI_CREATE_OPTIONS;
  },
  get findingWords() {
    return VDI_FINDING_WORDS;
  },
  open: openVdi,
  checkCreate: (options, path) => checkVdiCreate(options, path),
  measure: (request) => measureVdi(request),
  create: (request) => createVdi(request),
};
