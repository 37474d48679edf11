// The encryption of the first versions of qcow, which qcow2 has inherited: AES-128 in CBC mode. The password itself, cut or filled to 16 bytes, is the key; a sector's
// number on the guest's disk is its vector. Nothing says whether a password is the right one.

import type { Graph } from '../../../block/graph.js';
import type { SectorCipher } from '../../../host/cipher.js';

/** In the header's field `crypt_method`. */
export const CRYPT_AES = 1;
const KEY_BYTES = 16;

/** The cipher of a disk whose password is the secret `id`. Throws `not-found`, `unsupported`. */
export function openLegacyAes({ host: { ciphers }, objects }: Graph, id: string): SectorCipher {
  const key = ciphers.secret(KEY_BYTES);
  try {
    key.set(objects.secret(id).subarray(0, KEY_BYTES));
    return ciphers.open({ mode: 'cbc', vectors: 'plain64', key });
  } finally {
    ciphers.forget(key);
  }
}
