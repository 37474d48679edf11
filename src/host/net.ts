// Sockets of one host. A link is a connected byte stream without a Buffer, promise or closure a message: received bytes land
// in memory that its owner names, what is to be sent is pieces of the owner's memory.
//
//   owner --window(buffer, start, end)--> link --received(count)--> owner
//   owner --push(buffer, start, end), flush()--> link --progressed()--> owner
//
// Real links live in the addon (`real/link.ts`); those with TLS go through node:tls (`real/stream-link.ts`) behind the same face.
import type { BlockError } from '../util/errors.js';

/** Where to listen or connect. */
export type NetAddress =
  /** `abstract`: a name in Linux's abstract name space, not a file. */
  | { type: 'unix'; path: string; abstract?: boolean }
  /** An empty host listens on all addresses; port 0 takes any free one. */
  | { type: 'inet'; host: string; port: number; family?: 4 | 6; keepAlive?: boolean }
  /** A descriptor that this process was started with (socket activation): listening, or connected. */
  | { type: 'fd'; fd: number };

/** Called by a link; never from within a call of the link. */
export interface LinkOwner {
  /** `count` bytes have arrived at the start of the window. The window is used up: name the next one with `window`. */
  received(count: number): void;
  /** More pieces are sent: see `Link.sentPieces`. Called only where `flush` left something behind. */
  progressed(): void;
  /** The other side has closed (null), or the link failed. Once, and nothing follows; pieces that were not sent are dropped. */
  closed(error: BlockError | null): void;
}

/** What is known of the other side of a TLS link. */
export interface TlsPeer {
  /** Distinguished name of a verified certificate as RFC 4514 writes it, or the PSK identity; null where there is none. */
  name: string | null;
  protocol: string;
  cipher: string;
}

export interface TlsSettings {
  side: 'server' | 'client';
  kind: 'x509' | 'psk';
  /** The authority whose signature the other side's certificate must have, PEM. */
  ca?: Uint8Array;
  /** Certificates that the authority has taken back, PEM. */
  crl?: Uint8Array;
  /** This side's certificate and its key, PEM. */
  cert?: Uint8Array;
  key?: Uint8Array;
  /** What `key` is encrypted with. */
  passphrase?: string;
  /** A server demands a certificate that the CA has signed; a client always verifies the server's where this is set. */
  verifyPeer: boolean;
  /** Pre-shared keys by user name: a server's, or a client's one. */
  keys?: ReadonlyMap<string, Uint8Array>;
  /** A client's user name (PSK). */
  username?: string;
  /** Name that a client expects in the server's certificate. */
  hostname?: string;
}

export interface Link {
  /** The object that the link calls; may be changed at any time (handshake, then transmission). */
  owner: LinkOwner;
  /** For messages: `unix:/run/a.sock`, `192.0.2.1:40312`. */
  readonly peer: string;
  readonly tls: TlsPeer | null;
  /** Pieces of `push` that have been sent since the link was made: their memory may be used again. */
  readonly sentPieces: number;
  /** Bytes that wait to be sent. */
  readonly unsentBytes: number;
  /**
   * Where the next bytes go: [start, end) of `buffer`, which must be memory of this host and stay until it is used up or another window
   * is named. An empty window stops reading: the other side is held back. Several links may have the same window, since what arrives
   * is handed over at once.
   */
  window(buffer: Uint8Array, start: number, end: number): void;
  /** Queues [start, end) of `buffer` (memory of this host) to be sent with the next `flush`. It must not change until it is sent. */
  push(buffer: Uint8Array, start: number, end: number): void;
  /** Sends what is queued, as far as the system takes it now. True: all of it is sent. */
  flush(): boolean;
  /**
   * Goes on as a TLS link, in place of this one, which is dead then. Nothing may be unsent. Rejects with `permission` where the other side is
   * not who it must be, `io` for a failed handshake, `cancelled` by the time limit; the link is closed in that case.
   */
  startTls(settings: TlsSettings, timeoutMs: number): Promise<Link>;
  /** Ends it; what waits is sent first where `graceful` (within a few seconds). `closed` is not called. Resolves when the socket is closed. */
  close(graceful?: boolean): Promise<void>;
}

export interface Listener {
  /** Where it listens: the port that was taken. */
  readonly address: NetAddress;
  /** Takes no more links; existing ones stay. A UNIX socket's file is removed. */
  close(): Promise<void>;
}

export interface Net {
  /**
   * Listens; `accept` gets each new link, which reads nothing until it has a window. A UNIX socket's file that no process listens at
   * any more is replaced. Rejects
   * with `busy` (address in use), `permission`, `invalid-argument`.
   */
  listen(address: NetAddress, accept: (link: Link) => void, options?: { backlog?: number }): Promise<Listener>;
  /** Rejects with `not-found`, `permission`, `io` (refused, unreachable), `cancelled` (time limit, 0 = none). */
  connect(address: NetAddress, options?: { timeoutMs?: number }): Promise<Link>;
  /** Throws `invalid-argument` where no handshake could even begin with these settings: keys that cannot be read, or that do not fit. */
  checkTls(settings: TlsSettings): void;
}
