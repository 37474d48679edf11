// How a request gets to its server: over a connection of its own, through a proxy that is asked for it (http), or in a tunnel through a proxy (https).

import type { Socket } from 'node:net';
import type { buildConnector, Dispatcher, Pool } from 'undici';
import { basic } from '../../../util/basic-auth.js';
import { bestEffort } from '../../../util/best-effort.js';
import { BlockError } from '../../../util/errors.js';
import type { HttpSettings } from '../../http.js';
import { type Connector, makeConnector } from './connector.js';
import { connectError } from './errors.js';
import { type HttpProxy, proxyFor } from './proxy-variables.js';

type Undici = typeof import('undici');

/** Servers and proxies to which connections are kept: a redirection may lead to another one each time. */
const MOST_ORIGINS = 8;

/** What a request is dispatched with. */
export interface Way {
  pool: Pool;
  path: string;
  headers: Readonly<Record<string, string>>;
}

/** A proxy answers like that in place of the server, which nothing has reached. */
export class ProxyRefusal extends BlockError {
  readonly status: number;

  constructor(status: number, proxy: string) {
    super('refused', `the proxy ${proxy} answers with status ${status}`);
    this.status = status;
  }
}

export class Connections {
  readonly #undici: Undici;
  readonly #settings: HttpSettings;
  readonly #environment: NodeJS.ProcessEnv;
  readonly #direct: Connector;
  /** The connector of a tunnel's end at the server. */
  readonly #inTunnel: Connector;
  /** By origin and proxy, those that were made last come last. Undici's `Agent` is no way to keep them: where one connection ends, it forgets others. */
  readonly #pools = new Map<string, Pool>();
  /** Those that are being made: a pool that is destroyed leaves them alone. */
  readonly #connecting = new Set<Socket>();
  #closed = false;

  constructor(undici: Undici, settings: HttpSettings) {
    this.#undici = undici;
    this.#settings = settings;
    // What holds for the first request holds for all.
    this.#environment = { ...process.env };
    const connect = makeConnector(undici, settings, this.#environment, this.#connecting);
    // A request through a proxy names another server than the one that is connected to.
    this.#direct = (options, done) => connect({ ...options, servername: undefined }, done);
    this.#inTunnel = connect;
  }

  /** Throws as `proxyFor`. */
  to(target: URL): Way {
    const path = `${target.pathname}${target.search}`;
    const proxy = proxyFor(target, this.#environment);
    if (proxy === null) return { pool: this.#pool(target.origin), path, headers: {} };
    if (target.protocol === 'https:') return { pool: this.#tunnel(target.origin, proxy), path, headers: {} };
    const headers = { host: target.host, ...this.#headersFor(proxy) };
    return { pool: this.#pool(proxy.origin), path: `${target.origin}${path}`, headers };
  }

  async close(): Promise<void> {
    this.#closed = true;
    const pools = [...this.#pools.values()];
    this.#pools.clear();
    await Promise.all(pools.map((pool) => pool.destroy()));
    for (const socket of this.#connecting) socket.destroy();
  }

  #pool(origin: string, key = origin, connect = this.#direct): Pool {
    let pool = this.#pools.get(key);
    if (pool === undefined) {
      const { connections, timeoutMs } = this.#settings;
      // A server without an answer is seen by its timeouts; a pool retries nothing by itself.
      const timeouts = { headersTimeout: timeoutMs, bodyTimeout: timeoutMs };
      pool = new this.#undici.Pool(origin, { connections, pipelining: 1, connect, ...timeouts });
      this.#pools.set(key, pool);
      this.#forgetOldest();
    }
    return pool;
  }

  #forgetOldest(): void {
    for (const [key, pool] of this.#pools) {
      if (this.#pools.size <= MOST_ORIGINS) return;
      this.#pools.delete(key);
      // It ends when its last request has.
      pool.close().catch(bestEffort('closing connections to a server'));
    }
  }

  /** Connections to `origin` through `proxy`. */
  #tunnel(origin: string, proxy: HttpProxy): Pool {
    return this.#pool(origin, `${origin} ${proxy.origin}`, (options, done) => {
      this.#throughProxy(proxy, options).then(
        (socket) => this.#inTunnel({ ...options, httpSocket: socket }, done),
        (error: Error) => done(error, null),
      );
    });
  }

  #headersFor({ credentials }: HttpProxy): Record<string, string> {
    const known = this.#settings.proxyCredentials ?? credentials;
    return known === null ? {} : { 'proxy-authorization': basic(known) };
  }

  /** Rejects with `ProxyRefusal`, and with the errors of `connectError`. */
  async #throughProxy(proxy: HttpProxy, { host = '', port }: buildConnector.Options): Promise<Socket> {
    const authority = port === '' ? `${host}:443` : host;
    const request = { path: authority, headers: { host: authority, ...this.#headersFor(proxy) } };
    const name = new URL(proxy.origin).host;
    let answer: Dispatcher.ConnectData;
    try {
      answer = await this.#pool(proxy.origin).connect(request);
    } catch (error) {
      throw connectError(error as Error, name);
    }
    const socket = answer.socket as Socket;
    const isOpen = answer.statusCode >= 200 && answer.statusCode < 300;
    if (isOpen && !this.#closed) return socket;
    socket.on('error', () => undefined).destroy();
    throw new ProxyRefusal(answer.statusCode, name);
  }
}
