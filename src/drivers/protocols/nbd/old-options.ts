// The old spelling of an nbd node's server, from before the option `server` existed: `path=/a.sock`, or `host=a,port=1`.

import type { Nested } from '../../../schema/keyval.js';
import { BlockError } from '../../../util/errors.js';
import { NBD_DEFAULT_PORT } from '../../../wire/nbd/constants.js';

/** Replaces `path`, `host` and `port` by `server`. Throws `invalid-argument`, with QEMU's message. */
export function withNbdServer(nested: { [key: string]: Nested }): { [key: string]: Nested } {
  const { path, host, port, server, ...others } = nested;
  const old = path ?? host ?? port;
  if (server !== undefined) {
    if (old !== undefined) throw invalid("Cannot use 'server' and path/host/port at the same time");
    return { ...others, server: withTextPort(server) };
  }
  if (path !== undefined) {
    if (host !== undefined) throw invalid('path and host may not be used at the same time');
    if (port !== undefined) throw invalid('port may not be used without host');
    return { ...others, server: { type: 'unix', path } };
  }
  if (host === undefined) throw invalid('NBD server address missing');
  return { ...others, server: withTextPort({ type: 'inet', host, port: port ?? String(NBD_DEFAULT_PORT) }) };
}

/** `server` with its port as text: in JSON, a port may be a number. */
function withTextPort(server: Nested): Nested {
  if (typeof server !== 'object' || server === null || Array.isArray(server)) return server;
  return typeof server['port'] === 'number' ? { ...server, port: String(server['port']) } : server;
}

function invalid(message: string): BlockError {
  return new BlockError('invalid-argument', message);
}
