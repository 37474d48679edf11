// The driver definition of vhdx: how an image is opened and created.

import type { BlockNode } from '../../../block/node/node.js';
import type { DriverDefinition, OpenRequest } from '../../../block/registry.js';
import { ROLES } from '../../../block/roles.js';
import { openByHead } from '../../../block/stale.js';
import { BlockError } from '../../../util/errors.js';
import { openOverParent } from '../blocks/overlay.js';
import { checkVhdxCreate, createVhdx, measureVhdx, VHDX_CREATE_OPTIONS } from './create.js';
import { VhdxDifferencingNode } from './differencing.js';
import { VhdxNode } from './driver.js';
import { VHDX_FINDING_WORDS } from './finding-words.js';
import { readHead } from './header.js';
import { readImage } from './image.js';
import { guidText } from './parent.js';

async function openVhdx(request: OpenRequest<'vhdx'>): Promise<VhdxNode | VhdxDifferencingNode> {
  const { graph, node, use, forRepair, options } = request;
  const file = await request.openChild('file', null, 'image');
  const opening = { file, permissions: ROLES.image.permissions(use) };
  const opened = await openByHead(request, file, readHead, async (head, look) => {
    const image = await look((link) => readImage(link, head));
    if (image.parent !== null) return new VhdxDifferencingNode(graph, node, image, image.parent, opening);
    return new VhdxNode(graph, node, image, opening);
  });
  if (opened instanceof VhdxDifferencingNode) {
    return openOverParent(request, opened, (parent) => mismatchOf(opened, parent));
  }
  if (options.backing !== undefined) {
    throw new BlockError('invalid-argument', "Driver doesn't support backing files", { path: opened.filename });
  }
  if (!node.readOnly && !forRepair) await opened.becomeWritable();
  return opened;
}

/** What is wrong with a parent that has another content than the one that `image` was made over; null: nothing. */
function mismatchOf(image: VhdxDifferencingNode, parent: BlockNode): string | null {
  const isVhdx = parent instanceof VhdxNode || parent instanceof VhdxDifferencingNode;
  if (!isVhdx || image.linkages.includes(parent.dataWriteGuid)) return null;
  const [found, wanted] = [parent.dataWriteGuid, image.linkages[0]].map(guidText);
  return `The content of the parent has the GUID ${found}, and the differencing image was made over ${wanted}`;
}

export const vhdxDriver: DriverDefinition<'vhdx'> = {
  name: 'vhdx',
  kind: 'format',
  readsBacking: true,
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
