// The driver definitions of http and https: their names and options. The node, which is much, is in driver.ts.

import type { DriverDefinition } from '../../../block/registry.js';
import type { BlockdevOptions } from '../../../schema/generated/types.js';
import { BlockError } from '../../../util/errors.js';
import { openHttp } from './driver.js';
import { type HttpName, nameOf } from './name.js';

function driverOf<D extends HttpName>(name: D): DriverDefinition<D> {
  return {
    name,
    kind: 'protocol',
    followed: true,
    // An image may not say with whose secrets, or with what trust, another one is fetched.
    foreignOptions: { place: ['url'], use: ['readahead', 'timeout', 'force-range'] },
    names: {
      prefixes: [name],
      parse(filename) {
        if (filename.includes('\0')) throw new BlockError('invalid-argument', 'A file name cannot contain a zero byte');
        return { driver: name, url: filename } as Extract<BlockdevOptions, { driver: D }>;
      },
      format: (options) => nameOf(name, options as Extract<BlockdevOptions, { driver: HttpName }>),
    },
    open: (request) => openHttp(name, request),
  };
}

export const httpDriver = driverOf('http');
export const httpsDriver = driverOf('https');
