// A device with its image, in one set of options (QAPI `BlockdevDeviceOptions`): as `blockdev-add` took it in QEMU 2.1.
//
//   {id, rerror, werror, cache.writeback, driver, node-name, file, ...}
//    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ the device's                     all others: the image's, and today's `blockdev-add` takes them

import { TYPES } from '../schema/generated/table.js';
import type { BlockdevAioOptions, BlockdevDeviceOptions } from '../schema/generated/types.js';
import { LooseOptions } from '../schema/loose-options.js';
import type { TypeTable } from '../schema/table.js';
import { BlockError } from '../util/errors.js';
import type { DriveRequest } from './drives.js';
import { choiceOnRead, choiceOnWrite } from './error-policy.js';

type Members = Readonly<Record<string, unknown>>;

/** Throws `invalid-argument`, and `unsupported` for an I/O engine where the image is in no file of its own. */
export function requestOfDevice(options: BlockdevDeviceOptions): DriveRequest {
  const { id, rerror, werror, aio, cache: { writeback = true, ...cache } = {}, ...others } = options;
  const image = { ...others, cache };
  return {
    name: id,
    file: null,
    image: new LooseOptions(aio === undefined ? image : withEngine(image, aio), {}),
    cache: {},
    writethrough: !writeback,
    onRead: choiceOnRead(rerror),
    onWrite: choiceOnWrite(werror),
    throttling: {},
    accountInvalid: undefined,
    accountFailed: undefined,
    intervals: [],
  };
}

/** In 2.1, the engine was said at the top, and is the file's. One that the file itself has goes before it. */
function withEngine(options: Members, aio: BlockdevAioOptions): Members {
  const { file, driver } = options;
  if (isObject(file)) return { ...options, file: withEngine(file, aio) };
  const types: TypeTable = TYPES;
  const branch = types[(TYPES.BlockdevOptions.branches as Readonly<Record<string, string>>)[String(driver)] ?? ''];
  if (branch?.kind !== 'struct' || !Object.hasOwn(branch.members, 'aio')) {
    throw new BlockError('unsupported', `'aio' is an option of files, and '${String(driver)}' is none`);
  }
  return { aio, ...options };
}

function isObject(value: unknown): value is Members {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
