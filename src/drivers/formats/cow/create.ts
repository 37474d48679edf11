// Makes a cow image: a header of version 3, as uml_mkcow writes it, and a file of holes behind it.

import { MAX_BACKING_NAME_BYTES, referrerToBe } from '../../../block/backing-name.js';
import { makeRoom, removeContent } from '../../../block/create.js';
import { type CreateOptions, SIZE_OPTION } from '../../../block/create-option.js';
import { resolveBackingName } from '../../../block/filename.js';
import { openNode } from '../../../block/open.js';
import type { CreateRequest } from '../../../block/registry.js';
import { missingChild } from '../../../schema/loose-options.js';
import { BlockError } from '../../../util/errors.js';
import { encodeName } from '../../../util/name-bytes.js';
import { roundUp, SECTOR_BYTES } from '../../../util/numbers.js';
import { describeFile } from './backing.js';
import { encodeHeader } from './header.js';

type CowCreateOptions = CreateRequest<'cow'>['options'];

/** Files of ext4 have 16 TiB at most, and those of others not much more. */
const MAX_DISK_BYTES = 2 ** 50;

export const COW_CREATE_OPTIONS: CreateOptions = {
  options: [
    { name: 'backing_file', kind: 'str', help: 'File name of a base image', member: 'backing-file' },
    { name: 'backing_fmt', kind: 'str', help: "Must be 'raw' if present", member: 'backing-fmt' },
    SIZE_OPTION,
  ],
  summary: [['size'], ['backing_file'], ['backing_fmt']],
};

/** The name of the backing file, as the header has it. Throws `invalid-argument`; `path` is for messages. */
export function checkCowCreate(options: CowCreateOptions, path: string): Uint8Array {
  const fail = (reason: string): never => {
    throw BlockError.at(path, 'invalid-argument', reason, { operation: 'create' });
  };
  const { size, 'backing-file': backingFile, 'backing-fmt': format } = options;
  if (format !== undefined && format !== 'raw') fail("The backing file of a 'cow' image must be raw");
  if (size > MAX_DISK_BYTES) fail(`A 'cow' image has ${MAX_DISK_BYTES} bytes at most`);
  const name = encodeName(backingFile ?? '');
  if (name.length > MAX_BACKING_NAME_BYTES) fail('Backing file name too long');
  return name;
}

/** Rejects with `invalid-argument`, `no-space`, `io`, and as opening the backing file does. */
export async function createCow(request: CreateRequest<'cow'>): Promise<void> {
  const { options, file } = request;
  if (file === null) throw missingChild('file');
  const name = checkCowCreate(options, file.filename);
  const below = await describeBacking(request, file.filename);
  // The size of the backing file itself, to the byte: user-mode-linux compares it.
  const wanted = roundUp(options.size, SECTOR_BYTES);
  const size = below !== null && roundUp(below.size, SECTOR_BYTES) === wanted ? below.size : wanted;
  const { head, dataOffset } = encodeHeader(size, name, below?.date ?? 0);
  await removeContent(file);
  await makeRoom(file, dataOffset + size, dataOffset);
  await file.flush();
  await file.write(0, head);
  await file.flush();
}

/** Of the backing file: bytes, and when it was changed last, in seconds since 1970. Null: there is none, or it is no file. */
async function describeBacking(
  { graph, options }: CreateRequest<'cow'>,
  path: string,
): Promise<{ size: number; date: number } | null> {
  const name = options['backing-file'];
  if (name === undefined) return null;
  const referrer = await referrerToBe(graph.host, path);
  const how = { format: 'raw', readOnly: true, forceShare: true, referrer } as const;
  const node = await openNode(graph, resolveBackingName(path, name), how);
  try {
    return await describeFile(node);
  } finally {
    await graph.release(node);
  }
}
