// Where a monitor listens, as it is typed: PATH, unix:PATH or tcp:HOST:PORT.

import { resolve } from 'node:path';
import type { NetAddress } from '../../host/net.js';
import { UsageError } from '../getopt.js';

/** Throws `UsageError`. */
export function monitorAddress(text: string): NetAddress {
  const tcp = /^tcp:(?:\[([^\]]*)\]|([^:]*)):(\d{1,5})$/.exec(text);
  if (tcp !== null) {
    const port = Number(tcp[3]);
    if (port < 1 || port > 65535) throw new UsageError(`'${text}': a port is a number from 1 to 65535`);
    return { type: 'inet', host: (tcp[1] ?? tcp[2]) || 'localhost', port };
  }
  if (text.startsWith('tcp:')) throw new UsageError(`'${text}': a TCP address is tcp:HOST:PORT`);
  const path = text.startsWith('unix:') ? text.slice('unix:'.length) : text;
  if (path === '') throw new UsageError('the monitor needs a path');
  return { type: 'unix', path: resolve(path) };
}
