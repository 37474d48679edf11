// An NBD server: listens at any number of addresses, and takes each client through the handshake to its export.
//
//   listener --> [as many as are allowed; the others wait] --> Handshake --> Connection --> the next who waits

import type { Device } from '../../block/device.js';
import type { Host } from '../../host/host.js';
import type { Link, Listener, NetAddress, TlsSettings } from '../../host/net.js';
import { detach } from '../../util/best-effort.js';
import { BlockError } from '../../util/errors.js';
import type { BudgetLimits } from './budget.js';
import { Connection } from './connection.js';
import { type ExportOptions, NbdExport } from './export.js';
import type { Reception } from './haggling.js';
import { type Agreement, Handshake } from './handshake.js';
import { Shared } from './shared.js';

export const DEFAULT_MAX_CONNECTIONS = 100;
const HANDSHAKE_MS = 10_000;
const MIB = 1024 * 1024;
/** Clients beyond the limit that wait for their turn; any more are turned away. */
const MAX_WAITING = 128;

export interface NbdServerOptions {
  /** Clients at the same time; those beyond it wait. 0: any number. Default: 100. 1: clients are told not to use several connections. */
  maxConnections?: number;
  /** Demands TLS of every client. */
  tls?: TlsSettings;
  /**
   * Whether the client with this name (of its certificate, or its PSK user; null: none) may come in. Default: everybody with whom TLS came
   * up. Only with `tls`.
   */
  authorise?: (name: string | null) => boolean | Promise<boolean>;
  /** Time that a handshake may take; 0 for any time. Default: 10,000. */
  handshakeTimeoutMs?: number;
  /** Memory for requests. Default: 64 MiB a connection, 512 MiB in all, 4 MiB that a connection always gets. */
  budget?: Partial<BudgetLimits>;
  /** A client has come to its export. */
  onServed?: (peer: string) => void;
  /** A client has left. `served`: it had come to its export. `others`: clients that are there still, without those who wait. */
  onLeft?: (peer: string, served: boolean, others: number) => void;
}

export class NbdServer {
  readonly #options: NbdServerOptions;
  readonly #maxConnections: number;
  readonly #shared: Shared;
  readonly #exports = new Map<string, NbdExport>();
  readonly #listeners: Listener[] = [];
  readonly #handshakes = new Set<Handshake>();
  readonly #connections = new Set<Connection>();
  readonly #waiting: Link[] = [];
  readonly #reception: Reception;
  #closing: Promise<void> | null = null;
  #wake: (() => void)[] = [];

  /** Throws `invalid-argument`. */
  constructor(host: Host, options: NbdServerOptions = {}) {
    const { maxConnections = DEFAULT_MAX_CONNECTIONS, tls = null, authorise = () => true } = options;
    if (!Number.isInteger(maxConnections) || maxConnections < 0 || maxConnections > 0xffffffff) {
      throw new BlockError('invalid-argument', `max-connections cannot be ${maxConnections}`);
    }
    if (tls !== null) host.net.checkTls(tls);
    else if (options.authorise !== undefined) {
      throw new BlockError('invalid-argument', 'who may come in is known by TLS alone: authorise takes tls');
    }
    this.#options = options;
    this.#maxConnections = maxConnections;
    this.#shared = new Shared(host, {
      connectionBytes: 64 * MIB,
      totalBytes: 512 * MIB,
      guaranteedBytes: 4 * MIB,
      ...options.budget,
    });
    this.#reception = { exports: this.#exports, single: maxConnections === 1, tls, authorise };
  }

  /** Clients now, those in the handshake included; without those who wait. */
  get connectionCount(): number {
    return this.#handshakes.size + this.#connections.size;
  }

  /** Bytes of memory that the requests under way take. */
  get bytesInFlight(): number {
    return this.#shared.budget.taken;
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

  /**
   * Offers it no longer. `safe` throws `busy` where clients use it; `hard` drops them. Resolves when nothing of it is under way. Rejects
   * with `not-found`.
   */
  async removeExport(name: string, mode: 'safe' | 'hard' = 'safe'): Promise<void> {
    const removed = this.#exports.get(name);
    if (removed === undefined) throw new BlockError('not-found', `Export '${name}' is not found`);
    const users = () => [...this.#connections].filter((connection) => connection.export === removed);
    if (mode === 'safe' && users().length > 0) throw new BlockError('busy', `export '${name}' still in use`);
    this.#exports.delete(name);
    for (const connection of users()) connection.drop();
    while (users().length > 0) await this.#change();
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
    if (this.#maxConnections === 0 || this.connectionCount < this.#maxConnections) {
      this.#welcome(link);
      return;
    }
    if (this.#waiting.length === MAX_WAITING) detach('nbd server', link.close());
    else this.#waiting.push(link);
  }

  #welcome(link: Link): void {
    const timeoutMs = this.#options.handshakeTimeoutMs ?? HANDSHAKE_MS;
    const handshake = new Handshake(this.#shared, this.#reception, link, timeoutMs);
    this.#handshakes.add(handshake);
    this.#changed();
    handshake.start((agreement) => {
      this.#handshakes.delete(handshake);
      if (agreement === null) this.#left(link.peer, false);
      else this.#transmit(agreement);
    });
  }

  #transmit(agreement: Agreement): void {
    const connection = new Connection(this.#shared, agreement, () => {
      this.#connections.delete(connection);
      this.#left(connection.peer, true);
    });
    this.#connections.add(connection);
    this.#options.onServed?.(connection.peer);
    connection.start();
    // It may have been taken away while the client made up its mind.
    if (this.#exports.get(agreement.export.name) !== agreement.export) connection.drop();
    this.#changed();
  }

  /** Somebody has gone: the next one, please. */
  #left(peer: string, served: boolean): void {
    this.#options.onLeft?.(peer, served, this.connectionCount);
    const next = this.#closing === null ? this.#waiting.shift() : undefined;
    if (next !== undefined) this.#accept(next);
    this.#changed();
  }

  #changed(): void {
    const wake = this.#wake;
    this.#wake = [];
    for (const resolve of wake) resolve();
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#wake.push(resolve));
  }

  /** Listens no more, answers what is under way, and lets go of all clients and exports. The devices stay open. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await Promise.all(this.#listeners.map((listener) => listener.close()));
    await Promise.all(this.#waiting.splice(0).map((link) => link.close()));
    for (const handshake of this.#handshakes) handshake.close();
    for (const connection of this.#connections) connection.finish();
    while (this.connectionCount > 0) await this.#change();
    for (const served of this.#exports.values()) served.close();
    this.#exports.clear();
    this.#shared.close();
  }
}
