// The driver definition of vpc: how an image is opened and created.

import { formatNodeName } from '../../../block/filename.js';
import type { BlockNode } from '../../../block/node/node.js';
import type { DriverDefinition, OpenRequest } from '../../../block/registry.js';
import { ROLES } from '../../../block/roles.js';
import { openByHead } from '../../../block/stale.js';
import { BlockError } from '../../../util/errors.js';
import { openOverParent } from '../blocks/overlay.js';
import { checkVpcCreate, createVpc, measureVpc, VPC_CREATE_OPTIONS } from './create.js';
import { DifferencingNode } from './differencing.js';
import { VpcNode } from './driver.js';
import { FixedNode } from './fixed.js';
import { diskBytes, Kind, parseFooter } from './footer.js';
import { parseHead, readHead } from './head.js';

type AnyVpcNode = VpcNode | FixedNode | DifferencingNode;

function makeNode(request: OpenRequest<'vpc'>, file: BlockNode, head: Uint8Array): AnyVpcNode {
  const { graph, node, use, options } = request;
  const rule = options.force_size_calc;
  const parsed = parseHead(head);
  const footer = parseFooter(parsed.footer);
  const opening = {
    file,
    filename: formatNodeName('vpc', { force_size_calc: rule }, file),
    size: diskBytes(footer, rule, file.filename),
    permissions: ROLES.image.permissions(use),
  };
  if (footer.kind === Kind.fixed) return new FixedNode(graph, node, parsed, opening);
  if (footer.kind === Kind.differencing) return new DifferencingNode(graph, node, parsed, opening);
  return new VpcNode(graph, node, parsed, opening);
}

async function openVpc(request: OpenRequest<'vpc'>): Promise<AnyVpcNode> {
  const file = await request.openChild('file', null, 'image');
  const image = await openByHead(request, file, readHead, (head) => makeNode(request, file, head));
  if (image instanceof DifferencingNode) {
    await image.begin();
    return openOverParent(request, image, (parent) => mismatchOf(image, parent));
  }
  if (image instanceof VpcNode) await image.load();
  if (request.options.backing !== undefined) {
    throw new BlockError('invalid-argument', "Driver doesn't support backing files", { path: image.filename });
  }
  return image;
}

/** What is wrong with a parent that is another image than the one that `image` was made over; null: nothing. */
function mismatchOf(image: DifferencingNode, parent: BlockNode): string | null {
  const isVpc = parent instanceof VpcNode || parent instanceof FixedNode || parent instanceof DifferencingNode;
  if (!isVpc || parent.uuid === image.parentUuid) return null;
  return `The parent has the UUID ${parent.uuid}, and that of the differencing image is ${image.parentUuid}`;
}

export const vpcDriver: DriverDefinition<'vpc'> = {
  name: 'vpc',
  kind: 'format',
  suffixes: ['vpc', 'vhd'],
  readsBacking: true,
  foreignOptions: { place: ['force_size_calc'] },
  get createOptions() {
    return VPC_CREATE_OPTIONS;
  },
  open: openVpc,
  checkCreate: (options, path) => checkVpcCreate(options, path),
  measure: (request) => measureVpc(request),
  create: (request) => createVpc(request),
};
