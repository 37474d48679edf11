// Passwords: given as they are, in base64, or in a file; and encrypted with another one.

import { decryptAes256Cbc } from '../../host/cipher.js';
import type { Host } from '../../host/host.js';
import type { SecretProperties } from '../../schema/generated/types.js';
import { decodeBase64 } from '../../util/base64.js';
import { BlockError, toBlockError } from '../../util/errors.js';
import { wordsOfErrno } from '../../util/system-words.js';

/** Of an AES-256 key. */
const KEY_BYTES = 32;
const AES_BLOCK_BYTES = 16;
const MAX_SECRET_BYTES = 1 << 20;

/** Finds the secret that another one is encrypted with. Throws `not-found`, `invalid-argument`. */
export type FindKey = (id: string) => Uint8Array;

/** Rejects with `invalid-argument`, as `findKey`, and as `Host.readSmall`. */
export async function readSecret(host: Host, options: SecretProperties, findKey: FindKey): Promise<Uint8Array> {
  const { data, file, format, keyid } = options;
  if (data !== undefined && file !== undefined) {
    throw new BlockError('invalid-argument', "'file' and 'data' are mutually exclusive");
  }
  if (data === undefined && file === undefined) {
    throw new BlockError('invalid-argument', "Either 'file' or 'data' must be provided");
  }
  if (options.iv !== undefined && keyid === undefined) {
    throw new BlockError('invalid-argument', "'iv' is for secrets that are encrypted: they have a 'keyid'");
  }
  const written = data !== undefined ? new TextEncoder().encode(data) : await readFile(host, file!);
  const decoded = () => (format === 'base64' ? decodeBase64(new TextDecoder().decode(written)) : written);
  const secret = keyid === undefined ? decoded() : decrypt(findKey(keyid), options.iv, decoded);
  if (secret !== written) written.fill(0);
  return secret;
}

/** AES-256 in CBC mode, padded as PKCS#7 has it: the last byte says how many bytes of padding there are. What is wrong is said in QEMU's order. */
function decrypt(key: Uint8Array, ivText: string | undefined, encrypted: () => Uint8Array): Uint8Array {
  const refuse = (why: string): never => {
    throw new BlockError('invalid-argument', why);
  };
  if (key.length !== KEY_BYTES) refuse(`Key should be ${KEY_BYTES} bytes in length`);
  if (ivText === undefined) return refuse('IV is required to decrypt secret');
  const iv = decodeBase64(ivText);
  if (iv.length !== AES_BLOCK_BYTES) refuse(`IV should be ${AES_BLOCK_BYTES} bytes in length not ${iv.length}`);
  const data = encrypted();
  if (data.length % AES_BLOCK_BYTES !== 0) {
    refuse(`Length ${data.length} must be a multiple of block size ${AES_BLOCK_BYTES}`);
  }
  if (data.length === 0) return data;
  const plain = decryptAes256Cbc(key, iv, data);
  const padding = plain[plain.length - 1];
  if (padding > AES_BLOCK_BYTES) refuse(`Incorrect number of padding bytes (${padding}) found on decrypted data`);
  return plain.subarray(0, plain.length - padding);
}

async function readFile(host: Host, path: string): Promise<Uint8Array> {
  try {
    return await host.readSmall(path, MAX_SECRET_BYTES);
  } catch (cause) {
    const { code, errno, message } = toBlockError(cause);
    const words = errno === undefined ? undefined : wordsOfErrno(errno);
    const why = words === undefined ? message : `Failed to open file “${path}”: ${words}`;
    throw new BlockError(code, `Unable to read ${path}: ${why}`, { path, operation: 'read', cause });
  }
}
