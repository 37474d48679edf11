// Passwords: given as they are, in base64, or in a file.

import type { Host } from '../../host/host.js';
import type { SecretProperties } from '../../schema/generated/types.js';
import { BlockError, toBlockError } from '../../util/errors.js';
import { wordsOfErrno } from '../../util/system-words.js';

const MAX_SECRET_BYTES = 1 << 20;

/** Rejects with `invalid-argument`, and as `Host.readSmall`. */
export async function readSecret(host: Host, { data, file, format }: SecretProperties): Promise<Uint8Array> {
  if (data !== undefined && file !== undefined) {
    throw new BlockError('invalid-argument', "'file' and 'data' are mutually exclusive");
  }
  if (data === undefined && file === undefined) {
    throw new BlockError('invalid-argument', "Either 'file' or 'data' must be provided");
  }
  const written = data !== undefined ? new TextEncoder().encode(data) : await readFile(host, file!);
  return format === 'base64' ? decode(new TextDecoder().decode(written)) : written;
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

function decode(text: string): Uint8Array {
  const digits = text.replace(/\s/g, '');
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(digits) || digits.length % 4 !== 0) {
    throw new BlockError('invalid-argument', 'Base64 data is not valid');
  }
  return new Uint8Array(Buffer.from(digits, 'base64'));
}
