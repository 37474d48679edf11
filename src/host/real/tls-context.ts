// Translates the TLS settings of a link to options of node:tls, and keeps the servers that do handshakes.
import type { Socket } from 'node:net';
import type { ConnectionOptions, SecureContext, Server, TLSSocket, TlsOptions } from 'node:tls';
import { BlockError } from '../../util/errors.js';
import type { TlsSettings } from '../net.js';

/** Ciphers with forward secrecy come first. For TLS 1.3, only ciphers whose hash (SHA-256) is that of an external pre-shared key. */
const PSK_CIPHERS = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-PSK-CHACHA20-POLY1305',
  'DHE-PSK-AES256-GCM-SHA384',
  'DHE-PSK-CHACHA20-POLY1305',
  'DHE-PSK-AES128-GCM-SHA256',
  'ECDHE-PSK-AES256-CBC-SHA384',
  'ECDHE-PSK-AES128-CBC-SHA256',
  'PSK-AES256-GCM-SHA384',
  'PSK-CHACHA20-POLY1305',
  'PSK-AES128-GCM-SHA256',
].join(':');
/** The code of errors that `refused` makes. */
export const REFUSED = 'REFUSED';
/** Servers that are kept for later handshakes. Each holds the parsed keys, and parsing is expensive. */
const SPARE_SERVERS = 8;

/** Loaded with the first handshake. */
export function nodeTls(): typeof import('node:tls') {
  return process.getBuiltinModule('node:tls');
}

function invalid(message: string): BlockError {
  return new BlockError('invalid-argument', message, { operation: 'tls' });
}

/** The error for another side that could not be verified. */
export function refused(why: string): Error {
  return Object.assign(new Error(why), { code: REFUSED });
}

/** Runs `make`. Throws `invalid-argument`, with OpenSSL's message, for keys and certificates that it cannot use. */
function orInvalid<T>(make: () => T): T {
  try {
    return make();
  } catch (cause) {
    throw new BlockError('invalid-argument', `TLS credentials cannot be used: ${(cause as Error).message}`, {
      operation: 'tls',
      cause,
    });
  }
}

function shared(settings: TlsSettings): TlsOptions & ConnectionOptions {
  const bytes = (part: Uint8Array | undefined) =>
    part === undefined ? undefined : Buffer.from(part.buffer, part.byteOffset, part.byteLength);
  const { constants } = process.getBuiltinModule('node:crypto');
  const common = { minVersion: 'TLSv1.2', secureOptions: constants.SSL_OP_NO_TICKET } as const;
  // Without an authority, a certificate cannot be accepted instead of the key.
  if (settings.kind === 'psk') return { ...common, ciphers: PSK_CIPHERS, ca: [] };
  if (settings.verifyPeer && settings.ca === undefined) throw invalid('a TLS peer cannot be verified without a CA');
  return {
    ...common,
    ca: bytes(settings.ca) ?? [],
    crl: bytes(settings.crl),
    cert: bytes(settings.cert),
    key: bytes(settings.key),
    passphrase: settings.passphrase,
  };
}

/** Options of `tls.connect`, except the socket. Throws `invalid-argument`. */
export function clientOptions(settings: TlsSettings): ConnectionOptions {
  const options = { ...shared(settings), secureContext: clientContext(settings) };
  const { hostname } = settings;
  if (settings.kind === 'psk') {
    const [name, key] = settings.keys?.entries().next().value ?? [settings.username ?? '', undefined];
    if (key === undefined) throw invalid('a TLS client needs a pre-shared key');
    return {
      ...options,
      pskCallback: () => ({ identity: settings.username ?? name, psk: key }),
      checkServerIdentity: (_, { raw }) => (raw === undefined ? undefined : new Error('the server sent a certificate')),
    };
  }
  return {
    ...options,
    rejectUnauthorized: settings.verifyPeer,
    // An address is compared with the certificate, but must not be sent as server name.
    servername: hostname === undefined || isAddress(hostname) ? '' : hostname,
    checkServerIdentity: (_, cert) =>
      hostname === undefined ? undefined : nodeTls().checkServerIdentity(hostname, cert),
  };
}

function isAddress(name: string): boolean {
  return process.getBuiltinModule('node:net').isIP(name) !== 0;
}

/** The result of a handshake. */
export interface HandshakeResult {
  socket: TLSSocket;
  /** The user name that the client sent (PSK); null for certificates. */
  user: string | null;
}

/** A TLS server without a port. It does one handshake at a time, so that its events belong to that one. */
class HandshakeServer {
  readonly #server: Server;
  #user: string | null = null;
  /** There is no key for the user. */
  #unknownUser = false;
  #done: (error: Error | null, result: HandshakeResult | null) => void = () => undefined;

  /** Throws `invalid-argument` for keys that cannot be read. */
  constructor(settings: TlsSettings) {
    const options: TlsOptions = shared(settings);
    if (settings.kind === 'psk') {
      options.pskCallback = (_, identity) => {
        this.#user = identity;
        const key = settings.keys?.get(identity);
        this.#unknownUser = key === undefined;
        return key === undefined ? null : Buffer.from(key);
      };
      options.dhparam = 'auto';
    } else if (settings.cert === undefined || settings.key === undefined) {
      throw invalid('a TLS server needs a certificate and its key');
    } else {
      options.requestCert = settings.verifyPeer;
      // A client without a valid certificate is refused by the caller, with a message that says why.
      options.rejectUnauthorized = false;
    }
    this.#server = orInvalid(() => nodeTls().createServer(options));
    this.#server.on('secureConnection', (socket) => this.#settle(null, { socket, user: this.#user }));
    this.#server.on('tlsClientError', (error) => {
      this.#settle(this.#unknownUser ? refused(`there is no key for user "${this.#user}"`) : error, null);
    });
  }

  begin(socket: Socket, done: (error: Error | null, result: HandshakeResult | null) => void): void {
    this.#user = null;
    this.#unknownUser = false;
    this.#done = done;
    this.#server.emit('connection', socket);
  }

  /** Calls back once: later events are not about the end of this handshake. */
  #settle(error: Error | null, result: HandshakeResult | null): void {
    const done = this.#done;
    this.#done = () => undefined;
    done(error, result);
  }
}

const contexts = new WeakMap<TlsSettings, SecureContext>();

function clientContext(settings: TlsSettings): SecureContext {
  let context = contexts.get(settings);
  if (context === undefined) {
    context = orInvalid(() => nodeTls().createSecureContext(shared(settings)));
    contexts.set(settings, context);
  }
  return context;
}

/** See `Net.checkTls`. Throws `invalid-argument`. */
export function checkSettings(settings: TlsSettings): void {
  if (settings.side === 'server') keepServer(settings, takeServer(settings));
  else clientOptions(settings);
}

const spare = new WeakMap<TlsSettings, HandshakeServer[]>();

export function takeServer(settings: TlsSettings): HandshakeServer {
  return spare.get(settings)?.pop() ?? new HandshakeServer(settings);
}

/** Keeps a server for later handshakes. Only for one whose handshake has succeeded: after a failed one, late events may follow. */
export function keepServer(settings: TlsSettings, server: HandshakeServer): void {
  const kept = spare.get(settings);
  if (kept === undefined) spare.set(settings, [server]);
  else if (kept.length < SPARE_SERVERS) kept.push(server);
}
