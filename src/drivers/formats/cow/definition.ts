// The driver definition of cow: how an image is opened and created.

import { skipFilters } from '../../../block/chain.js';
import { openBacking } from '../../../block/node/format.js';
import type { DriverDefinition, OpenRequest } from '../../../block/registry.js';
import { ROLES } from '../../../block/roles.js';
import { openByHead } from '../../../block/stale.js';
import { printable } from '../../../util/foreign-text.js';
import { SECTOR_BYTES } from '../../../util/numbers.js';
import { describeFile } from './backing.js';
import { COW_CREATE_OPTIONS, checkCowCreate, createCow } from './create.js';
import { CowNode } from './driver.js';
import { readHead } from './header.js';

async function openCow(request: OpenRequest<'cow'>): Promise<CowNode> {
  const { graph, node, use } = request;
  const file = await request.openChild('file', null, 'image');
  const image = await openByHead(
    request,
    file,
    readHead,
    (head) => new CowNode(graph, node, file, head, ROLES.image.permissions(use)),
  );
  await openBacking(request, image);
  if (!request.onlyHeader) await warnOfBacking(image);
  return image;
}

/** user-mode-linux opens no image whose backing file was changed since. A copy of one has another date, too, so that it is no error. */
async function warnOfBacking(image: CowNode): Promise<void> {
  if (image.cow === null) return;
  const below = skipFilters(image.cow.node);
  const file = await describeFile(below);
  if (file === null) return;
  const [path, backing] = [printable(image.filename), printable(below.filename)];
  const cut = file.size - image.length;
  if (cut > 0 && cut < SECTOR_BYTES) {
    image.graph.warn(
      `warning: The last ${cut} bytes of '${backing}' are no whole sector: they are not part of '${path}'`,
    );
  }
  if (file.date === image.backingDate) return;
  image.graph.warn(
    `warning: The backing file '${backing}' was changed since '${path}' was made over it, or is a copy: what is read may be wrong`,
  );
}

export const cowDriver: DriverDefinition<'cow'> = {
  name: 'cow',
  kind: 'format',
  hasBacking: true,
  get createOptions() {
    return COW_CREATE_OPTIONS;
  },
  open: openCow,
  checkCreate: (options, path) => void checkCowCreate(options, path),
  create: (request) => createCow(request),
};
