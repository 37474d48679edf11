// The options of an encrypted image, and what its header says.

import type { LooseOptions } from '../../../schema/loose-options.js';
import { BlockError } from '../../../util/errors.js';

/** How an image is encrypted, in the words of the options that open it; null: it is not. */
export type EncryptionFormat = 'aes' | 'luks' | null;

/** Throws `invalid-argument` where the options of an image say something else than its header. */
export function checkFormat(inHeader: EncryptionFormat, encrypt: { format: string } | undefined, path: string): void {
  if (encrypt === undefined || encrypt.format === inHeader) return;
  const reason =
    inHeader === null
      ? `No encryption in image header, but options specified format '${encrypt.format}'`
      : `Header reported '${inHeader}' encryption format but options specify '${encrypt.format}'`;
  throw BlockError.at(path, 'invalid-argument', reason, { operation: 'open' });
}

/**
 * Options that name a password and no format get the format that the header says, as in QEMU's tools: one command line does for images that are encrypted
 * and for those that are not. Rejects as `inHeader`, which looks into the header.
 */
export async function completeEncryption(
  options: LooseOptions,
  inHeader: () => Promise<EncryptionFormat>,
): Promise<LooseOptions> {
  const { encrypt } = options.members;
  if (typeof encrypt !== 'object' || encrypt === null || Object.hasOwn(encrypt, 'format')) return options;
  const format = await inHeader();
  return options.with({ encrypt: format === null ? undefined : { ...encrypt, format } });
}
