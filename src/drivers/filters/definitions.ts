// What is known of the filters without opening one. Each `open` calls into the filter's own module, which a program that loads modules late does not need before.

import { parseProtocolName } from '../../block/filename.js';
import type { DriverDefinition } from '../../block/registry.js';
import { BlockError } from '../../util/errors.js';
import { openBlkdebug } from './blkdebug/driver.js';
import { openBlklogwrites } from './blklogwrites.js';
import { openBlkverify } from './blkverify.js';
import { openCompress } from './compress.js';
import { openCopyBeforeWrite } from './copy-before-write/driver.js';
import { openCopyOnRead } from './copy-on-read.js';
import { openPreallocate, withSizes } from './preallocate.js';
import { openQuorum } from './quorum/driver.js';
import { openSnapshotAccess } from './snapshot-access.js';
import { openThrottle } from './throttle.js';

export const blkdebugDriver: DriverDefinition<'blkdebug'> = {
  name: 'blkdebug',
  kind: 'filter',
  names: {
    prefixes: ['blkdebug'],
    parse(filename) {
      const [config, image] = twoParts(filename, 'blkdebug requires both config file and image path');
      return { driver: 'blkdebug', ...(config !== '' && { config }), image: parseProtocolName(image) };
    },
  },
  open: (request) => openBlkdebug(request),
};

export const blklogwritesDriver: DriverDefinition<'blklogwrites'> = {
  name: 'blklogwrites',
  kind: 'filter',
  open: (request) => openBlklogwrites(request),
};

export const blkverifyDriver: DriverDefinition<'blkverify'> = {
  name: 'blkverify',
  kind: 'filter',
  names: {
    prefixes: ['blkverify'],
    parse(filename) {
      const [copy, test] = twoParts(filename, 'blkverify requires raw copy and original image path');
      const raw = { driver: 'raw', file: parseProtocolName(copy) } as const;
      return { driver: 'blkverify', raw, test: parseProtocolName(test) };
    },
  },
  open: (request) => openBlkverify(request),
};

export const quorumDriver: DriverDefinition<'quorum'> = {
  name: 'quorum',
  kind: 'filter',
  open: (request) => openQuorum(request),
};

export const copyBeforeWriteDriver: DriverDefinition<'copy-before-write'> = {
  name: 'copy-before-write',
  kind: 'filter',
  open: (request) => openCopyBeforeWrite(request),
};

export const snapshotAccessDriver: DriverDefinition<'snapshot-access'> = {
  name: 'snapshot-access',
  kind: 'filter',
  open: (request) => openSnapshotAccess(request),
};

export const throttleDriver: DriverDefinition<'throttle'> = {
  name: 'throttle',
  kind: 'filter',
  changeable: ['throttle-group'],
  open: (request) => openThrottle(request),
};

export const copyOnReadDriver: DriverDefinition<'copy-on-read'> = {
  name: 'copy-on-read',
  kind: 'filter',
  open: (request) => openCopyOnRead(request),
};

export const compressDriver: DriverDefinition<'compress'> = {
  name: 'compress',
  kind: 'filter',
  open: (request) => openCompress(request),
};

export const preallocateDriver: DriverDefinition<'preallocate'> = {
  name: 'preallocate',
  kind: 'filter',
  changeable: ['prealloc-align', 'prealloc-size'],
  withoutOldOptions: (level) => withSizes(level),
  open: (request) => openPreallocate(request),
};

/** `blkdebug:A:B` is A and B. Throws `invalid-argument` with `message` where there is no B. */
function twoParts(filename: string, message: string): [string, string] {
  const rest = filename.slice(filename.indexOf(':') + 1);
  const colon = rest.indexOf(':');
  if (colon < 0) throw new BlockError('invalid-argument', message, { path: filename });
  return [rest.slice(0, colon), rest.slice(colon + 1)];
}
