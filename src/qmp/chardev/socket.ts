// A socket as a character device.
//
//   server: listens -> each that connects  \
//   client: connects -> what it reached     +-> (TLS) -> the user, or kept until there is one
//           (again, with `reconnect`)      /
//
// Several may be connected to a server at the same time. QEMU takes one at a time there; for it alone nothing is different.

import type { Authorizer } from '../../block/objects/authz.js';
import type { UserObjects } from '../../block/objects/index.js';
import type { LogFile } from '../../host/character.js';
import type { Link, Listener, NetAddress, TlsSettings } from '../../host/net.js';
import { addressText } from '../../host/net-address.js';
import { bestEffort, detach } from '../../util/best-effort.js';
import { BlockError, toBlockError } from '../../util/errors.js';
import { Waiters } from '../../util/waiters.js';
import type { ChardevBackend, ChardevSurroundings, ChardevUser } from './backend.js';
import type { SocketSettings } from './settings.js';

/** Time limit of a TLS handshake. */
const HANDSHAKE_MS = 10_000;
/** Clients that are kept while there is no user; others are turned away. */
const MAX_KEPT = 16;

interface Security {
  tls: TlsSettings;
  authorizer: Authorizer | null;
}

export class SocketBackend implements ChardevBackend {
  readonly #around: ChardevSurroundings;
  readonly #settings: SocketSettings;
  readonly #kept = new Set<Link>();
  /** Those that are connected now, each with what disconnects it. */
  readonly #links = new Map<Link, () => void>();
  readonly #came = new Waiters();
  #address: NetAddress;
  #user: ChardevUser | null = null;
  #log: LogFile | null = null;
  #security: Security | null = null;
  #listener: Listener | null = null;
  #stopTimer = (): void => undefined;
  #closed = false;
  readonly #id: string;
  /** It was said already that the other side is not there. */
  #told = false;

  constructor(around: ChardevSurroundings, settings: SocketSettings, id: string) {
    this.#around = around;
    this.#id = id;
    this.#settings = settings;
    this.#address = settings.address;
  }

  get filename(): string {
    const { server } = this.#settings;
    const end = server ? ',server=on' : '';
    const address = this.#address;
    const [link] = this.#links.keys();
    const kind = address.type === 'inet' ? 'tcp' : address.type;
    const text = address.type === 'fd' ? String(address.fd) : addressText(address);
    if (link === undefined) return `disconnected:${kind}:${text}${end}`;
    // This side of a client's UNIX socket has no name.
    if (address.type === 'unix') return server ? `unix:${text}${end}` : 'unix:';
    return `${kind}:${text}${end} <-> ${link.peer}`;
  }

  async open(): Promise<void> {
    const { net } = this.#around.host;
    const { address, server, wait, reconnectSeconds } = this.#settings;
    this.#security = securityOf(this.#around.objects, this.#settings);
    if (server) {
      const listener = await net.listen(address, (link) => detach('chardev', this.#welcome(link)));
      if (this.#closed) {
        await listener.close();
        throw closedError();
      }
      this.#listener = listener;
      this.#address = listener.address;
      if (wait) this.#around.warn(`info: QEMU waiting for connection on: ${this.filename}`);
      while (wait && this.#links.size === 0 && !this.#closed) await this.#came.wait();
      if (this.#closed) throw closedError();
    } else if (reconnectSeconds > 0) detach('chardev', this.#keepConnecting());
    else {
      this.#accept(await this.#connect());
      if (this.#closed) throw closedError();
    }
  }

  attach(user: ChardevUser, log: LogFile | null): void {
    this.#user = user;
    this.#log = log;
    for (const link of this.#kept) this.#give(user, link);
    this.#kept.clear();
  }

  cut(): void {
    for (const disconnect of [...this.#links.values()]) disconnect();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#stopTimer();
    this.#came.wake();
    await Promise.all([
      this.#listener?.close().catch(bestEffort('closing a character device')),
      ...[...this.#kept].map((link) => link.close()),
    ]);
  }

  /** A client of the server. */
  async #welcome(link: Link): Promise<void> {
    // Without TLS, a client is seen in the turn in which it came.
    if (this.#security === null) this.#accept(link);
    else await this.#secured(link, this.#security).then((secured) => this.#accept(secured), bestEffort('chardev'));
  }

  async #connect(): Promise<Link> {
    const link = await this.#around.host.net.connect(this.#settings.address);
    return this.#security === null ? link : this.#secured(link, this.#security);
  }

  /** Rejects, and has closed the link, where the other side is not who it should be. */
  async #secured(link: Link, { tls, authorizer }: Security): Promise<Link> {
    const secured = await link.startTls(tls, HANDSHAKE_MS);
    const name = secured.tls?.name ?? null;
    if (authorizer === null || (name !== null && (await authorizer.authorise(name)))) return secured;
    await secured.close();
    throw new BlockError('permission', `TLS x509 authz check for ${name} is denied`);
  }

  #accept(link: Link): void {
    if (this.#closed || (this.#user === null && this.#kept.size >= MAX_KEPT)) {
      detach('chardev', link.close());
      return;
    }
    if (this.#user !== null) this.#give(this.#user, link);
    else {
      this.#kept.add(link);
      this.#links.set(link, () => this.#turnAway(link));
      link.owner = { received: () => undefined, progressed: () => undefined, closed: () => this.#gone(link) };
    }
    this.#came.wake();
  }

  #give(user: ChardevUser, link: Link): void {
    // The user may be gone before it is known how to disconnect it.
    let here = true;
    const gone = (): void => {
      here = false;
      this.#gone(link);
    };
    const cut = user.link(link, gone, this.#log);
    if (here) this.#links.set(link, cut);
  }

  #turnAway(link: Link): void {
    detach('chardev', link.close());
    this.#gone(link);
  }

  #gone(link: Link): void {
    this.#kept.delete(link);
    this.#links.delete(link);
    if (this.#settings.reconnectSeconds > 0) this.#later();
  }

  async #keepConnecting(): Promise<void> {
    if (this.#closed) return;
    try {
      this.#accept(await this.#connect());
      this.#told = false;
    } catch (thrown) {
      if (this.#closed) return;
      // Once, however many attempts fail until somebody is there again: the log of a daemon that waits for weeks would fill the disk.
      if (!this.#told)
        this.#around.warn(`Unable to connect character device ${this.#id}: ${toBlockError(thrown).message}`);
      this.#told = true;
      this.#later();
    }
  }

  #later(): void {
    if (this.#closed) return;
    const delayMs = this.#settings.reconnectSeconds * 1000;
    this.#stopTimer = this.#around.host.clock.timer(delayMs, () => detach('chardev', this.#keepConnecting()));
  }
}

/** Throws `not-found`, `invalid-argument`. */
function securityOf(objects: UserObjects, settings: SocketSettings): Security | null {
  const { address, server, tlsCreds, tlsAuthz } = settings;
  if (tlsCreds === undefined) return null;
  const authorizer = tlsAuthz === undefined ? null : objects.lazyAuthorizer(tlsAuthz);
  const tls = objects.tls(tlsCreds, server ? 'server' : 'client');
  if (address.type === 'unix') {
    throw new BlockError('invalid-argument', "'tls_creds' option is incompatible with 'unix' address type");
  }
  return { tls: server || address.type !== 'inet' ? tls : { ...tls, hostname: address.host }, authorizer };
}

function closedError(): BlockError {
  return new BlockError('closed', 'the character device is closed');
}
