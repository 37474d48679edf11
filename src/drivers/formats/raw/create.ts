// Making a raw image: nothing but a size.

import type { CreateRequest } from '../../../block/registry.js';
import { BlockError } from '../../../util/errors.js';

export async function createRaw({ options, file }: CreateRequest<'raw'>): Promise<void> {
  if (file === null) throw new BlockError('invalid-argument', 'A block device must be specified for "file"');
  const { size, preallocation = 'off' } = options;
  if (preallocation === 'metadata') {
    throw new BlockError('invalid-argument', "Unsupported preallocation mode 'metadata'", { path: file.filename });
  }
  // Old content must not shine through.
  if (file.driver === 'file') await file.truncate(0);
  await file.truncate(size, { preallocation });
}
