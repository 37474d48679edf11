// An NBD server: listens at any number of addresses, and takes each client through the handshake to its export.
//
//   listener --> Handshake --> [as many as are allowed; the others wait for the answer to their choice] --> Connection --> the next client that waits
//
// A client that says nothing takes no place of one that does: it is in the handshake, as many may be. Where too many are, the one that has been
// silent for longest is dropped.

import type { Device } from '../../block/device.js';
import type { Host } from '../../host/host.js';
import type { Link, Listener, NetAddress, TlsSettings } from '../../host/net.js';
import { detach } from '../../util/best-effort.js';
import { BlockError } from '../../util/errors.js';
import { Waiters } from '../../util/waiters.js';
import type { BudgetLimits } from './budget.js';
import { Connection } from './connection.js';
import { type ExportOptions, NbdExport } from './export.js';
import { type Agreement, Handshake } from './handshake.js';
import type { PendingClient, ServerAccess } from './negotiation.js';
import { Shared } from './shared.js';

const DEFAULT_MAX_CONNECTIONS = 100;
const HANDSHAKE_MS = 10_000;
/** Clients that have not chosen an export yet. */
const MAX_HANDSHAKES = 128;
/** Clients that have chosen an export and wait for their turn; any more are refused. */
const MAX_WAITING = 1024;

/** A client, and what it has done so far. */
export interface NbdClient {
  /** Its address, as far as it has one. */
  peer: string;
  /** Requests that are over. */
  requests: number;
  /** Bytes that its reads and its writes were about. */
  readBytes: number;
  writtenBytes: number;
}

export interface NbdServerOptions {
  /** Clients at the same time; those beyond it wait. 0: any number. Default: 100. 1: clients are asked not to use several connections. */
  maxConnections?: number;
  /** Demands TLS of every client. */
  tls?: TlsSettings;
  /**
   * Whether the client with this name (of its certificate, or its PSK user; null: none) is allowed. Default: every client with which TLS came
   * up. Only with `tls`.
   */
  authorise?: (name: string | null) => boolean | Promise<boolean>;
  /** Time that a handshake may take; 0 for any time. Default: 10,000. */
  handshakeTimeoutMs?: number;
  /** A budget of its own for the memory of requests. Default: its part of that of the process (see `budget.ts`). */
  budget?: BudgetLimits;
  /** A client has entered the transmission phase of its export. */
  onServed?: (client: NbdClient) => void;
  /** A client has left. `served`: it had entered the transmission phase. `others`: clients that are still connected, without those that wait. */
  onLeft?: (client: NbdClient, served: boolean, others: number) => void;
}

export class NbdServer {
  readonly #options: NbdServerOptions;
  readonly #maxConnections: number;
  readonly #shared: Shared;
  readonly #exports = new Map<string, NbdExport>();
  readonly #listeners: Listener[] = [];
  readonly #handshakes = new Set<Handshake>();
  readonly #connections = new Set<Connection>();
  /** Handshakes that were admitted, and those that wait to be. */
  readonly #admitted = new Set<PendingClient>();
  readonly #waiting = new Set<PendingClient>();
  readonly #access: ServerAccess;
  #closing: Promise<void> | null = null;
  readonly #changes = new Waiters();

  /** Throws `invalid-argument`. */
  constructor(host: Host, options: NbdServerOptions = {}) {
    const { maxConnections = DEFAULT_MAX_CONNECTIONS, tls = null, authorise = () => true } = options;
    if (!Number.isInteger(maxConnections) || maxConnections < 0 || maxConnections > 0xffffffff) {
      throw new BlockError('invalid-argument', `invalid max-connections: ${maxConnections}`);
    }
    if (tls !== null) host.net.checkTls(tls);
    else if (options.authorise !== undefined) {
      throw new BlockError('invalid-argument', "'authorise' needs 'tls': only TLS says who a client is");
    }
    this.#options = options;
    this.#maxConnections = maxConnections;
    this.#shared = new Shared(host, options.budget);
    this.#access = {
      exports: this.#exports,
      single: maxConnections === 1,
      tls,
      authorise,
      admit: (client) => this.#admit(client),
      dismiss: (client) => {
        this.#admitted.delete(client);
        this.#admitNext();
      },
    };
  }

  /** Clients now, with those in the handshake, without those that wait to be admitted. */
  get connectionCount(): number {
    return this.#handshakes.size - this.#waiting.size + this.#connections.size;
  }

  /** Clients in the transmission phase. */
  get clients(): NbdClient[] {
    return [...this.#connections].map(figuresOf);
  }

  /** Clients that wait for their turn. */
  get waitingCount(): number {
    return this.#waiting.size;
  }

  /** Bytes of memory that the requests under way take. */
  get bytesInFlight(): number {
    return this.#shared.bytesTaken;
  }

  /** Offers a device. Throws `exists`, and as `NbdExport`. */
  addExport(device: Device, options: ExportOptions = {}): NbdExport {
    if (this.#exports.has(options.name ?? '')) {
      throw new BlockError('exists', `NBD server already has export named '${options.name ?? ''}'`);
    }
    const added = new NbdExport(device, options);
    this.#exports.set(added.name, added);
    return added;
  }

  /** Throws `not-found` where no export has that name, and with `safe` `busy` where clients use it. */
  checkRemoval(name: string, mode: 'safe' | 'hard'): void {
    this.#removable(name, mode);
  }

  #removable(name: string, mode: 'safe' | 'hard'): NbdExport {
    const found = this.#exports.get(name);
    if (found === undefined) throw new BlockError('not-found', `Export '${name}' is not found`);
    if (mode === 'safe' && this.#usersOf(found).length > 0) {
      throw new BlockError('busy', `export '${name}' still in use`);
    }
    return found;
  }

  #usersOf(served: NbdExport): Connection[] {
    return [...this.#connections].filter((connection) => connection.export === served);
  }

  /** Requests for the export that are under way. */
  requestsOf(name: string): number {
    const found = this.#exports.get(name);
    if (found === undefined) return 0;
    return this.#usersOf(found).reduce((sum, connection) => sum + connection.pending, 0);
  }

  /** Offers it no longer; `hard` drops its clients at once. Resolves when nothing of it is under way. Rejects as `checkRemoval` throws. */
  async removeExport(name: string, mode: 'safe' | 'hard' = 'safe'): Promise<void> {
    const removed = this.#removable(name, mode);
    this.#exports.delete(name);
    for (const connection of this.#usersOf(removed)) connection.drop();
    while (this.#usersOf(removed).length > 0) await this.#changes.wait();
    removed.close();
  }

  /** Begins to listen; any number of times. Resolves with where it is: the port that was taken. Rejects as `Net.listen`. */
  async listen(address: NetAddress): Promise<NetAddress> {
    const listener = await this.#shared.host.net.listen(address, (link) => this.#accept(link));
    if (this.#closing !== null) {
      await listener.close();
      throw new BlockError('closed', 'the NBD server is closed');
    }
    this.#listeners.push(listener);
    return listener.address;
  }

  #accept(link: Link): void {
    if (this.#closing !== null) {
      detach('nbd server', link.close());
      return;
    }
    if (this.#handshakes.size - this.#waiting.size >= MAX_HANDSHAKES) this.#dropMostSilent();
    const timeoutMs = this.#options.handshakeTimeoutMs ?? HANDSHAKE_MS;
    const handshake = new Handshake(this.#shared, this.#access, link, timeoutMs);
    this.#handshakes.add(handshake);
    this.#changes.wake();
    handshake.start((agreement) => {
      this.#handshakes.delete(handshake);
      this.#waiting.delete(handshake);
      this.#admitted.delete(handshake);
      if (agreement === null) this.#left({ peer: link.peer, requests: 0, readBytes: 0, writtenBytes: 0 }, false, 0);
      else this.#transmit(agreement);
    });
  }

  #dropMostSilent(): void {
    let silent: Handshake | null = null;
    for (const handshake of this.#handshakes) {
      if (handshake.over || this.#waiting.has(handshake)) continue;
      if (silent === null || handshake.movedAt < silent.movedAt) silent = handshake;
    }
    silent?.close();
  }

  /** Number of places for clients that are free; the clients that wait for one are not counted. */
  get #freePlaces(): number {
    if (this.#maxConnections === 0) return Number.POSITIVE_INFINITY;
    return this.#maxConnections - this.#connections.size - this.#admitted.size;
  }

  #admit(client: PendingClient): boolean {
    if (this.#waiting.size === 0 && this.#freePlaces > 0) {
      this.#admitted.add(client);
      return true;
    }
    this.#waiting.add(client);
    if (this.#waiting.size > MAX_WAITING) client.close();
    return false;
  }

  #admitNext(): void {
    for (const client of this.#waiting) {
      if (this.#closing !== null || this.#freePlaces <= 0) return;
      this.#waiting.delete(client);
      this.#admitted.add(client);
      client.admitted();
    }
  }

  #transmit(agreement: Agreement): void {
    const connection = new Connection(this.#shared, agreement, () => {
      // Clients in the handshake count as far as there was room for them while this one was connected.
      const { size } = this.#handshakes;
      const arriving = Math.min(size - this.#waiting.size, this.#freePlaces + this.#admitted.size);
      this.#connections.delete(connection);
      this.#left(figuresOf(connection), true, arriving);
    });
    this.#connections.add(connection);
    this.#options.onServed?.(figuresOf(connection));
    connection.start();
    // The export may have been removed while the client negotiated.
    if (this.#exports.get(agreement.export.name) !== agreement.export) connection.drop();
    this.#changes.wake();
  }

  /** A client has left: calls `onLeft`, and admits the next client. */
  #left(client: NbdClient, served: boolean, arriving: number): void {
    this.#options.onLeft?.(client, served, this.#connections.size + arriving);
    this.#admitNext();
    this.#changes.wake();
  }

  /** Stops listening, answers what is under way, and releases all clients and exports. The devices stay open. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    // A socket's file that cannot be removed does not stop the rest: it is reported when all else is done.
    const closed = await Promise.allSettled(this.#listeners.map((listener) => listener.close()));
    for (const handshake of this.#handshakes) handshake.close();
    for (const connection of this.#connections) connection.finish();
    while (this.#handshakes.size + this.#connections.size > 0) await this.#changes.wait();
    for (const served of this.#exports.values()) served.close();
    this.#exports.clear();
    this.#shared.close();
    for (const result of closed) if (result.status === 'rejected') throw result.reason;
  }
}

function figuresOf({ peer, requests, readBytes, writtenBytes }: Connection): NbdClient {
  return { peer, requests, readBytes, writtenBytes };
}
