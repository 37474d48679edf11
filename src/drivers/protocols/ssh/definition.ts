// The driver definition of ssh: its names and options. The node, which is much, is in driver.ts.

import type { DriverDefinition } from '../../../block/registry.js';
import { BlockError } from '../../../util/errors.js';
import { createRemote } from './create.js';
import { openSsh } from './driver.js';
import { formatSshName, parseSshName } from './name.js';
import { withSshServer } from './old-options.js';

export const sshDriver: DriverDefinition<'ssh'> = {
  name: 'ssh',
  kind: 'protocol',
  followed: true,
  foreignOptions: { place: ['server', 'host', 'port', 'path', 'user', 'host-key-check', 'host_key_check'] },
  withoutOldOptions: (level) => withSshServer(level),
  names: {
    prefixes: ['ssh'],
    parse(filename) {
      if (filename.includes('\0')) throw new BlockError('invalid-argument', 'A file name cannot contain a zero byte');
      return { driver: 'ssh', ...parseSshName(filename) };
    },
    format: (options) => formatSshName(options),
  },
  fileAt: ({ driver, ...location }) => ({ driver, location, size: 0 }),
  open: (request) => openSsh(request),
  create: (request) => createRemote(request),
};
