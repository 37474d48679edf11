// The driver definition of qcow: how an image is opened and created.

import { openBacking } from '../../../block/node/format.js';
import { readFirstSector } from '../../../block/probe.js';
import type { DriverDefinition, OpenRequest } from '../../../block/registry.js';
import { ROLES } from '../../../block/roles.js';
import { openByHead } from '../../../block/stale.js';
import type { SectorCipher } from '../../../host/cipher.js';
import { CRYPT_AES, openLegacyAes } from '../encryption/legacy-aes.js';
import { checkFormat, completeEncryption } from '../encryption/options.js';
import { checkPassword } from '../encryption/password.js';
import { createQcow, planQcow, QCOW_CREATE_OPTIONS } from './create.js';
import { QcowNode } from './driver.js';
import { cryptMethodIn, type Header, readHead } from './header.js';

async function openQcow(request: OpenRequest<'qcow'>): Promise<QcowNode> {
  const { graph, node, options, use, onlyHeader } = request;
  const file = await request.openChild('file', null, 'image');
  const path = file.filename;
  const openCipher = ({ isEncrypted }: Header): SectorCipher | null => {
    checkFormat(isEncrypted ? 'aes' : null, options.encrypt, path);
    if (!isEncrypted || onlyHeader) return null;
    const secret = options.encrypt?.['key-secret'];
    checkPassword(graph, secret, 'encrypt.key-secret', path);
    return openLegacyAes(graph, secret);
  };
  let cipher: SectorCipher | null = null;
  const image = await openByHead(request, file, readHead, (head) => {
    // Of a header that has changed meanwhile.
    cipher?.close();
    cipher = null;
    return new QcowNode(graph, node, file, head, ROLES.image.permissions(use), (header) => {
      cipher = openCipher(header);
      return cipher;
    });
  }).catch((error: unknown) => {
    cipher?.close();
    throw error;
  });
  await openBacking(request, image);
  return image;
}

export const qcowDriver: DriverDefinition<'qcow'> = {
  name: 'qcow',
  kind: 'format',
  hasBacking: true,
  compresses: true,
  compressesWith: ({ encrypt }) => encrypt === undefined,
  get createOptions() {
    return QCOW_CREATE_OPTIONS;
  },
  open: openQcow,
  checkCreate: (options, path, graph) => {
    planQcow(options, path);
    if (graph !== undefined && options.encrypt !== undefined) {
      checkPassword(graph, options.encrypt['key-secret'], 'encrypt.key-secret', path);
    }
  },
  openWith: ({ encrypt }) =>
    encrypt === undefined ? {} : { encrypt: { format: 'aes', 'key-secret': encrypt['key-secret'] } },
  complete: (options, file) =>
    completeEncryption(options, async () => (cryptMethodIn(await readFirstSector(file)) === CRYPT_AES ? 'aes' : null)),
  create: (request) => createQcow(request),
};
