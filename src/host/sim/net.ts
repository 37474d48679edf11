// The simulated host has no sockets.
import { BlockError } from '../../util/errors.js';
import type { Link, Listener, Net } from '../net.js';

export class SimNet implements Net {
  listen(): Promise<Listener> {
    return Promise.reject(noSockets('listen'));
  }

  connect(): Promise<Link> {
    return Promise.reject(noSockets('connect'));
  }

  checkTls(): void {
    throw noSockets('tls');
  }
}

function noSockets(operation: string): BlockError {
  return new BlockError('unsupported', 'the simulated host has no sockets', { operation });
}
