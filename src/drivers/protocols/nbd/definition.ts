// The driver definition of nbd: its names and options. The node and the client, which are much, are in driver.ts.

import type { DriverDefinition } from '../../../block/registry.js';
import { openNbd } from './driver.js';
import { formatNbdName, parseNbdName } from './name.js';
import { withNbdServer } from './old-options.js';

export const nbdDriver: DriverDefinition<'nbd'> = {
  name: 'nbd',
  kind: 'protocol',
  followed: true,
  foreignOptions: {
    place: ['server', 'host', 'port', 'path', 'export'],
    use: ['reconnect-delay', 'open-timeout'],
  },
  withoutOldOptions: (level) => withNbdServer(level),
  takesImages: true,
  names: {
    prefixes: ['nbd', 'nbd+tcp', 'nbd+unix', 'nbds', 'nbds+tcp', 'nbds+unix'],
    parse: (filename) => ({ driver: 'nbd', ...parseNbdName(filename) }),
    format: (options) => formatNbdName(options),
  },
  open: (request) => openNbd(request),
};
