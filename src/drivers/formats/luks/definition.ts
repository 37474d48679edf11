// The driver definition of luks: how an image is recognised, opened and created.

import { type Child, withLink } from '../../../block/child.js';
import type { BlockNode } from '../../../block/node/node.js';
import type { DriverDefinition, OpenRequest } from '../../../block/registry.js';
import { ROLES } from '../../../block/roles.js';
import { PERM_ALL, Perm } from '../../../block/types.js';
import type { SectorCipher } from '../../../host/cipher.js';
import { BlockError } from '../../../util/errors.js';
import { roundUp, SECTOR_BYTES } from '../../../util/numbers.js';
import { keySlotOptions } from './amend.js';
import { checkLuksCreate, createLuks, LUKS_CREATE_OPTIONS, passwordOf } from './create.js';
import { LuksNode } from './driver.js';
import { hasLuksMagic } from './header.js';
import type { ReadMaterial } from './key-slots.js';
import { openVolume, readVolume, roomFor, type Volume } from './volume.js';

async function openLuks({ graph, node, options, openChild, use, withBacking }: OpenRequest<'luks'>): Promise<LuksNode> {
  const file = await openChild('file', null, 'image');
  const path = file.filename;
  // Whoever looks at the header alone needs no password.
  const onlyHeader = !withBacking && node.readOnly;
  const password = onlyHeader ? null : passwordOf(graph, options['key-secret'], 'key-secret', path);
  const opened = await withLink(
    file,
    { user: { userName: `node '${node.nodeName}'` }, role: 'root', perm: Perm.CONSISTENT_READ, shared: PERM_ALL },
    async (link): Promise<{ volume: Volume; cipher: SectorCipher | null }> => {
      const read = reader(link);
      const volume = await readVolume(read, file.length, path);
      checkPayload(volume, file);
      if (password === null) return { volume, cipher: null };
      return { volume, cipher: await openVolume(graph.host.ciphers, volume, password, read, path) };
    },
  );
  return new LuksNode(
    graph,
    node,
    file,
    opened.volume,
    opened.cipher,
    options['key-secret'],
    ROLES.image.permissions(use),
  );
}

function reader(link: Child): ReadMaterial {
  return (offset, buffer) => link.read(offset, buffer);
}

function checkPayload({ header }: Volume, file: BlockNode): void {
  const fail = (message: string): never => {
    throw BlockError.at(file.filename, 'invalid-image', message, { operation: 'open' });
  };
  if (header.payloadOffset === 0) fail('The LUKS header has no payload: it is a detached one');
  if (header.payloadOffset > file.length) fail('The LUKS payload begins beyond the end of the file');
}

export const luksDriver: DriverDefinition<'luks'> = {
  name: 'luks',
  kind: 'format',
  createOptions: LUKS_CREATE_OPTIONS,
  amendOptions: keySlotOptions(''),
  probe: (head) => (hasLuksMagic(head) ? 100 : 0),
  open: openLuks,
  checkCreate: checkLuksCreate,
  measure: async ({ graph, options }) => {
    passwordOf(graph, options['key-secret'], 'key-secret', '');
    const bytes = roomFor(options, '') + roundUp(options.size, SECTOR_BYTES);
    return { required: bytes, 'fully-allocated': bytes };
  },
  openWith: (options) => ({ 'key-secret': options['key-secret'] }),
  create: createLuks,
};
