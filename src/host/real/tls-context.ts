// The options for node:tls that the settings of a link stand for, and the servers that do handshakes.
import type { Socket } from 'node:net';
import type { ConnectionOptions, SecureContext, Server, TLSSocket, TlsOptions } from 'node:tls';
import { BlockError } from '../../util/errors.js';
import type { TlsSettings } from '../net.js';

/** Those with forward secrecy first. For TLS 1.3, the ones whose hash is that of a plain pre-shared key. */
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
/** Code of `refused`. */
export const REFUSED = 'REFUSED';
/** Servers that are kept for the next handshake. Each holds the parsed keys, which cost more to read than to keep. */
const SPARE_SERVERS = 8;

/** Loaded with the first handshake. */
export function nodeTls(): typeof import('node:tls') {
  return process.getBuiltinModule('node:tls');
}

function invalid(message: string): BlockError {
  return new BlockError('invalid-argument', message, { operation: 'tls' });
}

/** The other side is not who it must be. */
export function refused(why: string): Error {
  return Object.assign(new Error(why), { code: REFUSED });
}

/** What OpenSSL says of keys and certificates that it cannot use. */
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
  // No authority: a certificate must not be taken in place of the key.
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

/** Options of `tls.connect` but the socket. Throws `invalid-argument`. */
export function clientOptions(settings: TlsSettings): ConnectionOptions {
  const options = { ...shared(settings), secureContext: clientContext(settings) };
  const { hostname } = settings;
  if (settings.kind === 'psk') {
    const [name, key] = settings.keys?.entries().next().value ?? [settings.username ?? '', undefined];
    if (key === undefined) throw invalid('a TLS client needs a pre-shared key');
    return {
      ...options,
      pskCallback: () => ({ identity: settings.username ?? name, psk: key }),
      checkServerIdentity: (_, { raw }) => (raw === undefined ? undefined : new Error('it showed a certificate')),
    };
  }
  return {
    ...options,
    rejectUnauthorized: settings.verifyPeer,
    // A name that is an address is looked for in the certificate, but is not sent.
    servername: hostname === undefined || isAddress(hostname) ? '' : hostname,
    checkServerIdentity: (_, cert) =>
      hostname === undefined ? undefined : nodeTls().checkServerIdentity(hostname, cert),
  };
}

function isAddress(name: string): boolean {
  return process.getBuiltinModule('node:net').isIP(name) !== 0;
}

/** What a handshake of a server came to. */
export interface Shaken {
  socket: TLSSocket;
  /** User name of the key that was asked for last. */
  user: string | null;
}

/** A TLS server without a port. It does one handshake at a time, so that what it reports needs no name. */
class HandshakeServer {
  readonly #server: Server;
  #user: string | null = null;
  /** There is no key for that user. */
  #stranger = false;
  #done: (error: Error | null, shaken: Shaken | null) => void = () => undefined;

  /** Throws `invalid-argument` for keys that cannot be read. */
  constructor(settings: TlsSettings) {
    const options: TlsOptions = shared(settings);
    if (settings.kind === 'psk') {
      options.pskCallback = (_, identity) => {
        this.#user = identity;
        const key = settings.keys?.get(identity);
        this.#stranger = key === undefined;
        return key === undefined ? null : Buffer.from(key);
      };
      options.dhparam = 'auto';
    } else if (settings.cert === undefined || settings.key === undefined) {
      throw invalid('a TLS server needs a certificate and its key');
    } else {
      options.requestCert = settings.verifyPeer;
      // An unknown user is refused by the caller, with a message that says why.
      options.rejectUnauthorized = false;
    }
    this.#server = orInvalid(() => nodeTls().createServer(options));
    this.#server.on('secureConnection', (socket) => this.#settle(null, { socket, user: this.#user }));
    this.#server.on('tlsClientError', (error) => {
      this.#settle(this.#stranger ? refused(`there is no key for user "${this.#user}"`) : error, null);
    });
  }

  begin(socket: Socket, done: (error: Error | null, shaken: Shaken | null) => void): void {
    this.#user = null;
    this.#stranger = false;
    this.#done = done;
    this.#server.emit('connection', socket);
  }

  /** Once: what comes later is not about this handshake's end. */
  #settle(error: Error | null, shaken: Shaken | null): void {
    const done = this.#done;
    this.#done = () => undefined;
    done(error, shaken);
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

/** Throws `invalid-argument` where a handshake could not even begin with these settings. */
export function checkSettings(settings: TlsSettings): void {
  if (settings.side === 'server') keepServer(settings, takeServer(settings));
  else clientOptions(settings);
}

const spare = new WeakMap<TlsSettings, HandshakeServer[]>();

export function takeServer(settings: TlsSettings): HandshakeServer {
  return spare.get(settings)?.pop() ?? new HandshakeServer(settings);
}

/** Only after its handshake has succeeded: of a failed one, more may be heard later. */
export function keepServer(settings: TlsSettings, server: HandshakeServer): void {
  const kept = spare.get(settings);
  if (kept === undefined) spare.set(settings, [server]);
  else if (kept.length < SPARE_SERVERS) kept.push(server);
}
