// Sockets of one host. A link is a connected byte stream that makes no Buffer, promise or closure for a message: bytes are received into memory that the
// link's owner sets (the window), and sent from pieces of the owner's memory.
//
//   owner --window(buffer, start, end)--> link --received(count)--> owner
//   owner --push(buffer, start, end), flush()--> link --progressed()--> owner
//
// Real links are in the addon (`real/link.ts`); those with TLS use node:tls (`real/stream-link.ts`), with the same interface.
import type { BlockError } from '../util/errors.js';

/** Where to listen or connect. */
export type NetAddress =
  /**
   * `abstract`: a name in Linux's abstract name space, not a file. Such a name is as long as it is said to be; `padded`: it fills the whole address with
   * zeroes behind it, and is another name.
   */
  | { type: 'unix'; path: string; abstract?: boolean; padded?: boolean }
  | InetAddress
  /** A descriptor that this process was started with (socket activation): listening, or connected. */
  | { type: 'fd'; fd: number }
  /** A descriptor that was passed under this name; it is taken over (see `PassedDescriptors`). */
  | { type: 'named-fd'; name: string };

export interface InetAddress {
  type: 'inet';
  /** Empty: listens on all addresses. */
  host: string;
  /** 0: takes any free one. A name is that of a TCP service of this host (`nbd`). */
  port: number | string;
  /** Listens at the first port from `port` to this one that is free. */
  lastPort?: number;
  family?: 4 | 6;
  keepAlive?: boolean;
}

/** An address whose descriptor, or port, has its number. */
export type NumberedAddress =
  | Exclude<NetAddress, { type: 'named-fd' } | InetAddress>
  | (InetAddress & { port: number });

/** Called by a link; never from within a call of the link. */
export interface LinkOwner {
  /** `count` bytes were received at the start of the window. The window is used up: the owner sets the next one with `window`. */
  received(count: number): void;
  /** A descriptor was passed, before the bytes that it came with; it is the owner's now. See `Link.takeDescriptors`. */
  descriptor?(fd: number): void;
  /** More pieces have been sent: see `Link.sentPieces`. Called only where `flush` could not send everything. */
  progressed(): void;
  /** The other side has closed the link (null), or the link failed. Called once, as the last call; pieces that were not sent are dropped. */
  closed(error: BlockError | null): void;
}

/** A `HostFile` of the link's own host. */
export interface SentFile {
  readonly path: string;
  readonly movable: boolean;
}

/** The other side of a TLS link. */
export interface TlsPeer {
  /** Distinguished name of a verified certificate as RFC 4514 writes it, or the PSK identity; null where there is none. */
  name: string | null;
  protocol: string;
  cipher: string;
}

export interface TlsSettings {
  side: 'server' | 'client';
  kind: 'x509' | 'psk';
  /** Certificate of the authority that must have signed the other side's certificate, PEM. */
  ca?: Uint8Array;
  /** The authority's certificate revocation list, PEM. */
  crl?: Uint8Array;
  /** This side's certificate and its key, PEM. */
  cert?: Uint8Array;
  key?: Uint8Array;
  /** Password that `key` is encrypted with. */
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
   * Sets the window: the next bytes are received into [start, end) of `buffer`, which must be memory of this host and stay allocated until the window is
   * used up or another one is set. An empty window stops reading, so that the other side has to wait. Several links may have the same window, since
   * received bytes are passed to the owner at once.
   * `whole`: the owner wants to be called only when the window is full; it sets no other one before. It may still be called with a part.
   */
  window(buffer: Uint8Array, start: number, end: number, whole?: boolean): void;
  /** Bytes in such a window that the owner was not called for yet. */
  readonly gatheredBytes: number;
  /** Has the owner get descriptors that the other side passes (SCM_RIGHTS of a UNIX socket). Otherwise they are closed. */
  takeDescriptors(): void;
  /** Queues [start, end) of `buffer` (memory of this host) to be sent with the next `flush`. It must not change until it is sent. */
  push(buffer: Uint8Array, start: number, end: number): void;
  /**
   * Queues [start, end) of `head`, as `push` does, and behind it the `length` bytes of `file` from `offset` on, which are not copied: until they are sent, the
   * link holds the system's own pages of them. So they cannot fail to be read any more, the file may be closed; and what is written to the same place
   * meanwhile may or may not be what the other side receives. Returns the number of pieces; 0, and nothing is queued, where the link or the file cannot do
   * that, not all bytes are in memory, or links hold as much as they may. Never waits, never fails.
   */
  pushFile(head: Uint8Array, start: number, end: number, file: SentFile, offset: number, length: number): number;
  /** Sends queued pieces, as many as the system takes now. True where all were sent. */
  flush(): boolean;
  /**
   * Resolves with a TLS link that replaces this one. No piece may be unsent. Rejects with `permission` where the other side cannot be verified, or
   * rejects this side, with `io` for a failed handshake, and with `cancelled` at the time limit; the link is closed then.
   */
  startTls(settings: TlsSettings, timeoutMs: number): Promise<Link>;
  /**
   * Closes the link; where `graceful`, queued pieces are sent first (within a few seconds), and the other side has a moment to end its side once it was sent
   * everything. `closed` is not called. Resolves when the socket is closed.
   */
  close(graceful?: boolean): Promise<void>;
}

export interface Listener {
  /** The address that it listens at, with the port that was chosen where 0 was asked for. */
  readonly address: NetAddress;
  /** Stops listening; existing links stay open. A UNIX socket's file is removed. */
  close(): Promise<void>;
}

export interface Net {
  /**
   * Listens; `accept` is called with each new link, which reads nothing until it has a window. A UNIX socket's file that no process listens at any more is
   * replaced. Rejects with `busy` (address in use), `permission`, `invalid-argument`.
   */
  listen(address: NetAddress, accept: (link: Link) => void, options?: { backlog?: number }): Promise<Listener>;
  /** Connects. Rejects with `not-found`, `permission`, `io` (refused, unreachable), `cancelled` (time limit, 0 = none). */
  connect(address: NetAddress, options?: { timeoutMs?: number }): Promise<Link>;
  /** Throws `invalid-argument` where no handshake could begin with these settings: keys that cannot be read, or do not match. */
  checkTls(settings: TlsSettings): void;
}
