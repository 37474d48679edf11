// TLS on a connected socket, by node:tls. A handshake ends with a link to a peer that the settings allow, or with an error.
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { BlockError } from '../../util/errors.js';
import type { Link, TlsPeer, TlsSettings } from '../net.js';
import { subjectOf } from './distinguished-name.js';
import type { OpenSockets } from './open-sockets.js';
import { StreamLink } from './stream-link.js';
import {
  clientOptions,
  type HandshakeResult,
  keepServer,
  nodeTls,
  REFUSED,
  refused,
  takeServer,
} from './tls-context.js';

/** Error codes of handshakes in which one side could not verify the other one. */
const REFUSALS = [
  new RegExp(`^${REFUSED}$`),
  /^ERR_TLS_CERT_ALTNAME_INVALID$/,
  /^ERR_SSL_.*(CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED|PSK|BINDER|DECRYPT|BAD_RECORD_MAC)/,
  // OpenSSL's errors of certificate chains.
  /^(?!ERR_).*(CERT|CRL|CHAIN|UNABLE_TO|HOSTNAME_MISMATCH|INVALID_PURPOSE|INVALID_CA)/,
];
/** With a pre-shared key, any alert of the other side means that the key was refused. */
const PSK_REFUSALS = /^ERR_SSL_.*ALERT/;

type HandshakeCallback = (error: Error | null, result: HandshakeResult | null) => void;

/** Makes a TLS link of `socket`. See `Link.startTls`. */
export async function startTls(
  socket: Socket,
  peer: string,
  settings: TlsSettings,
  timeoutMs: number,
  open: OpenSockets,
): Promise<Link> {
  const entry = { close: () => closed(socket) };
  open.add(entry);
  let timer: NodeJS.Timeout | undefined;
  try {
    const { socket: secure, user } = await new Promise<HandshakeResult>((resolve, reject) => {
      const done: HandshakeCallback = (error, result) => (result === null ? reject(error) : resolve(result));
      if (timeoutMs > 0) {
        const why = `no TLS handshake within ${timeoutMs} ms`;
        timer = setTimeout(() => reject(BlockError.at(peer, 'cancelled', why, { operation: 'tls' })), timeoutMs);
      }
      socket.once('close', () => reject(new Error('the other side has closed')));
      socket.on('error', (error) => reject(error));
      if (settings.side === 'server') handshakeAsServer(socket, settings, done);
      else handshakeAsClient(socket, settings, done);
    });
    return new StreamLink(secure, peer, peerOf(secure, user, settings), open);
  } catch (error) {
    socket.destroy();
    throw handshakeError(error, peer, settings);
  } finally {
    clearTimeout(timer);
    open.delete(entry);
  }
}

function handshakeAsServer(socket: Socket, settings: TlsSettings, done: HandshakeCallback): void {
  const server = takeServer(settings);
  server.begin(socket, (error, result) => {
    if (result !== null) keepServer(settings, server);
    done(error, result);
  });
}

function handshakeAsClient(socket: Socket, settings: TlsSettings, done: HandshakeCallback): void {
  const secure: TLSSocket = nodeTls().connect({ ...clientOptions(settings), socket });
  secure.on('error', (error) => done(error, null));
  secure.once('secureConnect', () => {
    secure.removeAllListeners('error');
    done(null, { socket: secure, user: null });
  });
}

/** Checks the other side, after the handshake. Throws an error that becomes `permission`. */
function peerOf(socket: TLSSocket, user: string | null, settings: TlsSettings): TlsPeer {
  const protocol = socket.getProtocol() ?? 'unknown';
  const cipher = socket.getCipher().name;
  const cert = settings.kind === 'psk' ? undefined : socket.getPeerX509Certificate();
  if (settings.kind === 'psk') {
    // In TLS 1.3 the cipher's name does not show it: a session with a pre-shared key counts as resumed there.
    if (!cipher.includes('PSK') && !(protocol === 'TLSv1.3' && socket.isSessionReused())) {
      throw refused('the pre-shared key was not used');
    }
  } else if (settings.verifyPeer && (!socket.authorized || cert === undefined)) {
    throw refused(cert === undefined ? 'the other side sent no certificate' : `${socket.authorizationError}`);
  }
  const name = settings.verifyPeer && cert !== undefined ? subjectOf(cert.raw) : user;
  return { name, protocol, cipher };
}

function handshakeError(error: unknown, peer: string, { kind }: TlsSettings): BlockError {
  if (error instanceof BlockError) {
    return error.path === undefined
      ? BlockError.at(peer, error.code, error.message, { operation: 'tls', cause: error })
      : error;
  }
  const { code = '', reason, message } = error as Error & { code?: string; reason?: string };
  const refusal = REFUSALS.some((some) => some.test(code)) || (kind === 'psk' && PSK_REFUSALS.test(code));
  const why = `TLS handshake failed: ${reason ?? message}`;
  return BlockError.at(peer, refusal ? 'permission' : 'io', why, { operation: 'tls', cause: error });
}

function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    socket.once('close', () => resolve());
    socket.destroy();
  });
}
