// The driver definition of raw: how an image is opened and created, and that any file is one.

import type { BlockNode } from '../../../block/node/node.js';
import type { DriverDefinition, OpenRequest } from '../../../block/registry.js';
import { PERM_ALL } from '../../../block/types.js';
import type { BlockdevOptionsRaw } from '../../../schema/generated/types.js';
import { BlockError } from '../../../util/errors.js';
import { printable } from '../../../util/foreign-text.js';
import { roundUp, SECTOR_BYTES } from '../../../util/numbers.js';
import { checkRawCreate, createRaw, RAW_CREATE_OPTIONS, streamRaw } from './create.js';
import { RawNode } from './driver.js';

/** Throws `invalid-argument` where the window does not lie within the file. */
function checkWindow({ offset = 0, size }: BlockdevOptionsRaw, file: BlockNode): void {
  const fail = (message: string): never => {
    throw new BlockError('invalid-argument', message, { path: file.filename, operation: 'open' });
  };
  if (offset > file.length) {
    fail(`Offset (${offset}) cannot be greater than size of the containing file (${file.length})`);
  }
  if (size === undefined) return;
  if (size > file.length - offset) {
    fail(
      `The sum of offset (${offset}) and size (${size}) has to be smaller or equal to the actual size of the containing file (${file.length})`,
    );
  }
  if (size % SECTOR_BYTES !== 0) fail(`Specified size is not multiple of ${SECTOR_BYTES}`);
}

async function openRaw({ graph, node, options, openChild, probed }: OpenRequest<'raw'>): Promise<RawNode> {
  const file = await openChild('file', null, 'image');
  checkWindow(options, file);
  const raw = new RawNode(graph, node, options, file, probed);
  // No permission until the node has users: see `needsOf`.
  raw.setChild('file', file, 'image', { perm: 0, shared: PERM_ALL });
  if (probed && !node.readOnly) {
    graph.warn(
      `WARNING: Image format was not specified for '${printable(file.filename)}' and probing guessed raw.\n` +
        '         Automatically detecting the format is dangerous for raw images, write operations on block 0 will be restricted.\n' +
        "         Specify the 'raw' format explicitly to remove the restrictions.",
    );
  }
  return raw;
}

export const rawDriver: DriverDefinition<'raw'> = {
  name: 'raw',
  kind: 'format',
  suffixes: ['raw', 'img'],
  foreignOptions: { place: ['offset', 'size'] },
  defaultFor: 'window',
  bare: true,
  resizes: true,
  // The lowest score: raw is chosen where no other format recognises the image.
  probe: () => 1,
  get createOptions() {
    return RAW_CREATE_OPTIONS;
  },
  open: openRaw,
  checkCreate: (options, path) => checkRawCreate(options, path),
  streamed: (options, path) => streamRaw(options, path),
  measure: async ({ options: { size } }) => {
    const bytes = roundUp(size, SECTOR_BYTES);
    return { required: bytes, 'fully-allocated': bytes };
  },
  create: (request) => createRaw(request),
};
