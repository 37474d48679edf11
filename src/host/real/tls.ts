// TLS on a connected socket, by way of node:tls. A handshake ends with the peer that the settings ask for, or without a link.
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { BlockError } from '../../util/errors.js';
import type { Link, TlsPeer, TlsSettings } from '../net.js';
import { subjectOf } from './distinguished-name.js';
import type { OpenSockets } from './open-sockets.js';
import { StreamLink } from './stream-link.js';
import { clientOptions, keepServer, nodeTls, REFUSED, refused, type Shaken, takeServer } from './tls-context.js';

/** Failures of a handshake that are about who the other side is, or who it takes us for. */
const REFUSALS = [
  new RegExp(`^${REFUSED}$`),
  /^ERR_TLS_CERT_ALTNAME_INVALID$/,
  /^ERR_SSL_.*(CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED|PSK|BINDER|DECRYPT|BAD_RECORD_MAC)/,
  // What OpenSSL thinks of a chain of certificates.
  /^(?!ERR_).*(CERT|CRL|CHAIN|UNABLE_TO|HOSTNAME_MISMATCH|INVALID_PURPOSE|INVALID_CA)/,
];
/** With a pre-shared key there is nothing else that the other side could object to in this way. */
const PSK_REFUSALS = /^ERR_SSL_.*ALERT/;

type Verdict = (error: Error | null, shaken: Shaken | null) => void;

/** Goes on with `socket` as a TLS link. See `Link.startTls`. */
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
    const { socket: secure, user } = await new Promise<Shaken>((resolve, reject) => {
      const done: Verdict = (error, shaken) => (shaken === null ? reject(error) : resolve(shaken));
      if (timeoutMs > 0) {
        const why = `no TLS handshake within ${timeoutMs} ms`;
        timer = setTimeout(() => reject(BlockError.at(peer, 'cancelled', why, { operation: 'tls' })), timeoutMs);
      }
      socket.once('close', () => reject(new Error('the other side has closed')));
      socket.on('error', (error) => reject(error));
      if (settings.side === 'server') shakeAsServer(socket, settings, done);
      else shakeAsClient(socket, settings, done);
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

function shakeAsServer(socket: Socket, settings: TlsSettings, done: Verdict): void {
  const server = takeServer(settings);
  server.begin(socket, (error, shaken) => {
    if (shaken !== null) keepServer(settings, server);
    done(error, shaken);
  });
}

function shakeAsClient(socket: Socket, settings: TlsSettings, done: Verdict): void {
  const secure: TLSSocket = nodeTls().connect({ ...clientOptions(settings), socket });
  secure.on('error', (error) => done(error, null));
  secure.once('secureConnect', () => {
    secure.removeAllListeners('error');
    done(null, { socket: secure, user: null });
  });
}

/** Checks the other side once more, now that all of it is known. Throws `permission`. */
function peerOf(socket: TLSSocket, user: string | null, settings: TlsSettings): TlsPeer {
  const protocol = socket.getProtocol() ?? 'unknown';
  const cipher = socket.getCipher().name;
  const cert = settings.kind === 'psk' ? undefined : socket.getPeerX509Certificate();
  if (settings.kind === 'psk') {
    // In TLS 1.3 the cipher's name does not tell: there a key that was agreed on before is a resumed session.
    if (!cipher.includes('PSK') && !(protocol === 'TLSv1.3' && socket.isSessionReused())) {
      throw refused('the pre-shared key was not used');
    }
  } else if (settings.verifyPeer && (!socket.authorized || cert === undefined)) {
    throw refused(cert === undefined ? 'it showed no certificate' : `${socket.authorizationError}`);
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
