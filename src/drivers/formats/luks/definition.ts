// The driver definition of luks: how an image is recognised, opened and created.

import { chainOf } from '../../../block/chain.js';
import type { Child } from '../../../block/child.js';
import { fileIds } from '../../../block/identity.js';
import type { BlockNode } from '../../../block/node/node.js';
import type { DriverDefinition, OpenRequest } from '../../../block/registry.js';
import { ROLES } from '../../../block/roles.js';
import { openByHead } from '../../../block/stale.js';
import type { SectorCipher } from '../../../host/cipher.js';
import { BlockError } from '../../../util/errors.js';
import { roundUp, SECTOR_BYTES } from '../../../util/numbers.js';
import { checkPassword, withPassword } from '../encryption/password.js';
import { keySlotOptions } from './amend.js';
import { checkLuksCreate, createLuks, LUKS_CREATE_OPTIONS } from './create.js';
import { LuksNode } from './driver.js';
import { hasLuksMagic } from './header.js';
import type { ReadMaterial } from './key-slots.js';
import { HEADER, openVolume, readVolumeHead, roomFor, type Volume, volumeOf } from './volume.js';

async function openLuks({ graph, node, options, openChild, use, onlyHeader }: OpenRequest<'luks'>): Promise<LuksNode> {
  const file = await openChild('file', null, 'image');
  const header = options.header === undefined ? null : await openChild(HEADER, null, 'header');
  if (header !== null) await refuseHeaderIn(file, header);
  const place = header ?? file;
  const path = place.filename;
  const secret = options['key-secret'];
  if (!onlyHeader) checkPassword(graph, secret, 'key-secret', path);
  const readHead = (link: Child) => readVolumeHead(reader(link), place.length);
  let cipher: SectorCipher | null = null;
  try {
    return await openByHead({ node, onlyHeader }, place, readHead, async (head, look) => {
      const volume = volumeOf(head, place.length, path, { detached: header !== null });
      checkPayload(volume, file);
      if (!onlyHeader) {
        const { ciphers } = graph.host;
        cipher = await withPassword(graph, secret, 'key-secret', path, (password) =>
          look((link) => openVolume(ciphers, volume, password, reader(link), path)),
        );
      }
      return new LuksNode(graph, node, file, header, volume, cipher, secret, ROLES.image.permissions(use));
    });
  } catch (error) {
    // The variable is set by a callback, which the compiler does not follow.
    (cipher as SectorCipher | null)?.close();
    throw error;
  }
}

function reader(link: Child): ReadMaterial {
  return (offset, buffer) => link.read(offset, buffer);
}

/** Refuses with `locked` a header that lies in a file of the disk, or of its backing files. */
async function refuseHeaderIn(file: BlockNode, header: BlockNode): Promise<void> {
  const its = await fileIds(header);
  for (const node of chainOf(file)) {
    if (!(await fileIds(node)).some((id) => its.includes(id))) continue;
    const message = `The LUKS header '${header.filename}' lies in '${node.filename}', which is the disk, or a backing file of it`;
    throw BlockError.at(header.filename, 'locked', message, { operation: 'open' });
  }
}

function checkPayload({ header, detached }: Volume, file: BlockNode): void {
  const fail = (message: string): never => {
    throw BlockError.at(file.filename, 'invalid-image', message, { operation: 'open' });
  };
  if (header.payloadOffset === 0 && !detached) {
    fail("The LUKS header is a detached one: it is to be opened as 'header', beside the disk as 'file'");
  }
  if (header.payloadOffset > file.length) fail('The LUKS payload begins beyond the end of the file');
}

export const luksDriver: DriverDefinition<'luks'> = {
  name: 'luks',
  kind: 'format',
  resizes: true,
  get foreignOptions() {
    return { place: [HEADER] };
  },
  get parts() {
    return { [HEADER]: 'header' };
  },
  get createOptions() {
    return LUKS_CREATE_OPTIONS;
  },
  get amendOptions() {
    return keySlotOptions('');
  },
  slotChange: (options) => options,
  probe: (head) => (hasLuksMagic(head) ? 100 : 0),
  open: openLuks,
  checkCreate: (options, path, graph) => checkLuksCreate(options, path, graph),
  measure: async ({ graph, options }) => {
    checkPassword(graph, options['key-secret'], 'key-secret', '');
    // What the named file takes: with a detached header it is either.
    const room = options.header === undefined ? roomFor(options, '') : 0;
    const disk = options['detached-header'] ? 0 : roundUp(options.size, SECTOR_BYTES);
    return { required: room + disk, 'fully-allocated': room + disk };
  },
  openWith: (options) => ({
    'key-secret': options['key-secret'],
    ...(options.header !== undefined && { [HEADER]: options.header }),
  }),
  create: (request) => createLuks(request),
};
