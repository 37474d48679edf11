// Creates a raw image: a file, or part of one, of the wanted size.

import { makeRoom, removeContent } from '../../../block/create.js';
import { type CreateOptions, SIZE_OPTION } from '../../../block/create-option.js';
import { checkImageSize } from '../../../block/image-size.js';
import type { CreateRequest, StreamedImage } from '../../../block/registry.js';
import { missingChild } from '../../../schema/loose-options.js';
import { BlockError } from '../../../util/errors.js';
import { roundUp, SECTOR_BYTES } from '../../../util/numbers.js';

export const RAW_CREATE_OPTIONS: CreateOptions = {
  options: [
    {
      name: 'preallocation',
      kind: 'str',
      help: 'Preallocation mode (allowed values: off, falloc, full)',
      member: 'preallocation',
    },
    SIZE_OPTION,
  ],
  summary: [['size'], ['nocow'], ['preallocation']],
};

/** Checks the options of a new image; `path` is for messages. Throws `invalid-argument`, `limit`. */
export function checkRawCreate({ size, preallocation }: CreateRequest<'raw'>['options'], path: string): void {
  checkImageSize(roundUp(size, SECTOR_BYTES), path, 'create');
  if (preallocation !== 'metadata') return;
  throw BlockError.at(path, 'invalid-argument', 'Unsupported preallocation mode: metadata');
}

/** The bytes of the disk, as they are. Throws as `checkRawCreate`, and `unsupported`. */
export function streamRaw(options: CreateRequest<'raw'>['options'], path: string): StreamedImage {
  checkRawCreate(options, path);
  if ((options.preallocation ?? 'off') !== 'off') {
    throw BlockError.at(path, 'unsupported', 'An image with preallocation cannot be written as a stream', {
      operation: 'create',
    });
  }
  return { unit: 1, size: roundUp(options.size, SECTOR_BYTES), layout: { kind: 'in-place' } };
}

/** Gives `file` the size of the new image, in bytes, rounded up to whole sectors. Rejects with `no-space`, `io`, and as `checkRawCreate`. */
export async function createRaw({ options, file }: CreateRequest<'raw'>): Promise<void> {
  if (file === null) throw missingChild('file');
  const { size, preallocation = 'off' } = options;
  checkRawCreate(options, file.filename);
  await removeContent(file);
  // The first sector is zeroed: a header that an earlier image left there would be probed as the format.
  await makeRoom(file, roundUp(size, SECTOR_BYTES), SECTOR_BYTES, { preallocation });
}
