// The driver definition of parallels: how an image is opened and created.

import type { DriverDefinition, OpenRequest } from '../../../block/registry.js';
import { ROLES } from '../../../block/roles.js';
import { openByHead, readUpTo } from '../../../block/stale.js';
import { checkParallelsCreate, createParallels, measureParallels, PARALLELS_CREATE_OPTIONS } from './create.js';
import { ParallelsNode } from './driver.js';
import { PARALLELS_FINDING_WORDS } from './finding-words.js';
import { HEADER_BYTES } from './header.js';

async function openParallels(request: OpenRequest<'parallels'>): Promise<ParallelsNode> {
  const { graph, node, use, forRepair } = request;
  const file = await request.openChild('file', null, 'image');
  const image = await openByHead(
    request,
    file,
    (link) => readUpTo(link, HEADER_BYTES),
    (head) => new ParallelsNode(graph, node, file, head, ROLES.image.permissions(use)),
  );
  await image.load(forRepair);
  return image;
}

export const parallelsDriver: DriverDefinition<'parallels'> = {
  name: 'parallels',
  kind: 'format',
  suffixes: ['parallels', 'hds', 'hdd'],
  get createOptions() {
    return PARALLELS_CREATE_OPTIONS;
  },
  get findingWords() {
    return PARALLELS_FINDING_WORDS;
  },
  open: openParallels,
  checkCreate: (options, path) => checkParallelsCreate(options, path),
  measure: (request) => measureParallels(request),
  clusterMember: 'cluster-size',
  create: (request) => createParallels(request),
};
