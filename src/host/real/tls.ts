// TLS on a link.
import type { Socket } from 'node:net';
import { BlockError } from '../../util/errors.js';
import type { Link, TlsSettings } from '../net.js';

/** Goes on with `socket` as a TLS link. */
export async function startTls(
  socket: Socket,
  peer: string,
  _settings: TlsSettings,
  _timeoutMs: number,
  _forget: (link: Link) => void,
): Promise<Link> {
  socket.destroy();
  throw new BlockError('unsupported', `${peer}: TLS comes with the next commit`, { operation: 'tls', path: peer });
}
