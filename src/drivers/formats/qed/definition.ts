// The driver definition of qed: how an image is opened and created.

import { openBacking } from '../../../block/node/format.js';
import type { DriverDefinition, OpenRequest } from '../../../block/registry.js';
import { ROLES } from '../../../block/roles.js';
import { openByHead } from '../../../block/stale.js';
import { createQed, planQed, QED_CREATE_OPTIONS } from './create.js';
import { QedNode } from './driver.js';
import { QED_FINDING_WORDS } from './finding-words.js';
import { readHead } from './header.js';

async function openQed(request: OpenRequest<'qed'>): Promise<QedNode> {
  const { graph, node, use, forRepair } = request;
  const file = await request.openChild('file', null, 'image');
  const image = await openByHead(
    request,
    file,
    readHead,
    (head) => new QedNode(graph, node, file, head, ROLES.image.permissions(use)),
  );
  if (!node.readOnly && !forRepair) await image.becomeWritable();
  await openBacking(request, image);
  return image;
}

export const qedDriver: DriverDefinition<'qed'> = {
  name: 'qed',
  kind: 'format',
  hasBacking: true,
  resizes: 'longer',
  clusterMember: 'cluster-size',
  get createOptions() {
    return QED_CREATE_OPTIONS;
  },
  get findingWords() {
    return QED_FINDING_WORDS;
  },
  open: openQed,
  checkCreate: (options, path) => void planQed(options, path),
  create: (request) => createQed(request),
};
