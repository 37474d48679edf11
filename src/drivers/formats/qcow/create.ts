// Makes a qcow image: a header, perhaps a backing file's name, and an L1 table that is empty.

import { MAX_BACKING_NAME_BYTES } from '../../../block/backing-name.js';
import { makeRoom, removeContent } from '../../../block/create.js';
import { type CreateOptions, SIZE_OPTION } from '../../../block/create-option.js';
import type { CreateRequest } from '../../../block/registry.js';
import { missingChild } from '../../../schema/loose-options.js';
import { BlockError } from '../../../util/errors.js';
import { encodeName } from '../../../util/name-bytes.js';
import { roundUp, SECTOR_BYTES } from '../../../util/numbers.js';
import { checkPassword } from '../encryption/password.js';
import { ENTRY_BYTES, encodeHeader, HEADER_BYTES, type Header, l1Entries, MAX_L1_ENTRIES } from './header.js';

type QcowCreateOptions = CreateRequest<'qcow'>['options'];

/** Clusters of 4 KiB, 512 to a table. */
const ALONE = { clusterBits: 12, l2Bits: 9 } as const;
/** Over a backing file, of which little is to be copied: clusters of a sector, 4096 to a table. */
const OVERLAY = { clusterBits: 9, l2Bits: 12 } as const;

export const QCOW_CREATE_OPTIONS: CreateOptions = {
  options: [
    { name: 'backing_file', kind: 'str', help: 'File name of a base image', member: 'backing-file' },
    { name: 'backing_fmt', kind: 'str', help: 'Format of the backing image', member: 'backing-fmt' },
    {
      name: 'encrypt.format',
      kind: 'str',
      help: "Encrypt the image, format choices: 'aes'",
      member: 'encrypt.format',
      values: { aes: 'qcow' },
    },
    {
      name: 'encrypt.key-secret',
      kind: 'str',
      help: 'ID of the secret that provides the AES encryption key',
      member: 'encrypt.key-secret',
    },
    {
      name: 'encryption',
      kind: 'bool (on/off)',
      help: "Encrypt the image with format 'aes'. (Deprecated in favor of encrypt.format=aes)",
      member: 'encrypt.format',
      aliasOf: 'encrypt.format',
      values: { on: 'qcow' },
    },
    SIZE_OPTION,
  ],
  summary: [['size'], ['backing_file'], ['backing_fmt'], ['encryption'], ['encrypt.format'], ['encrypt.key-secret']],
};

/** What an image that is made with these options has. Throws `invalid-argument`, `unsupported`; `path` is for messages. */
export function planQcow(options: QcowCreateOptions, path: string): { header: Header; name: Uint8Array } {
  const { 'backing-file': backingFile, encrypt } = options;
  const fail = (code: 'invalid-argument' | 'unsupported', message: string): never => {
    throw BlockError.at(path, code, message, { operation: 'create' });
  };
  const size = roundUp(options.size, SECTOR_BYTES);
  if (size === 0) fail('invalid-argument', 'Image size is too small, cannot be zero length');
  if (encrypt !== undefined && encrypt.format !== 'qcow') fail('unsupported', 'Unsupported encryption format');
  const name = encodeName(backingFile ?? '');
  if (name.length > MAX_BACKING_NAME_BYTES) fail('invalid-argument', 'Backing file name too long');
  const hasName = name.length > 0;
  const shape = { size, ...(hasName ? OVERLAY : ALONE) };
  if (l1Entries(shape) > MAX_L1_ENTRIES) fail('invalid-argument', 'Image too large');
  const header: Header = {
    ...shape,
    isEncrypted: encrypt !== undefined,
    l1Offset: roundUp(HEADER_BYTES + name.length, ENTRY_BYTES),
    backingNameOffset: hasName ? HEADER_BYTES : 0,
    backingNameBytes: name.length,
  };
  return { header, name };
}

/** Makes an image in `file`. Rejects with `invalid-argument`, `unsupported`, `not-found` (the secret), `no-space`, `io`. */
export async function createQcow({ graph, options, file }: CreateRequest<'qcow'>): Promise<void> {
  if (file === null) throw missingChild('file');
  const { header, name } = planQcow(options, file.filename);
  if (options.encrypt !== undefined) {
    checkPassword(graph, options.encrypt['key-secret'], 'encrypt.key-secret', file.filename);
  }
  await removeContent(file);
  // As QEMU, the table ends with a whole sector of entries.
  const end = header.l1Offset + roundUp(l1Entries(header) * ENTRY_BYTES, SECTOR_BYTES);
  await makeRoom(file, end, end);
  await file.flush();
  const head = new Uint8Array(HEADER_BYTES + name.length);
  head.set(encodeHeader(header));
  head.set(name, HEADER_BYTES);
  await file.write(0, head);
  await file.flush();
}
