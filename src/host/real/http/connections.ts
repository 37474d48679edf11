// How a request gets to its server: over a connection of its own, through a proxy that is asked for it (http), or in a tunnel through a proxy (https).

import { Socket } from 'node:net';
import type { Agent, buildConnector, Dispatcher } from 'undici';
import { basic } from '../../../util/basic-auth.js';
import { BlockError } from '../../../util/errors.js';
import type { HttpSettings } from '../../http.js';
import { connectError } from './errors.js';
import { type HttpProxy, proxyFor } from './proxy-variables.js';
import { trust } from './trust.js';

type Undici = typeof import('undici');
type Connector = buildConnector.connector;

/** What a request is dispatched with. */
export interface Way {
  agent: Agent;
  origin: string;
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
  readonly #direct: Agent;
  /** By the origin of the proxy, and the credentials for it. */
  readonly #tunnels = new Map<string, Agent>();
  /** Those that are being made: an agent that is destroyed leaves them alone. */
  readonly #connecting = new Set<Socket>();
  #closed = false;

  constructor(undici: Undici, settings: HttpSettings) {
    this.#undici = undici;
    this.#settings = settings;
    // What holds for the first request holds for all.
    this.#environment = { ...process.env };
    const connect = this.#connector();
    // A request through a proxy names another server than the one that is connected to.
    this.#direct = this.#agent((options, done) => connect({ ...options, servername: undefined }, done));
  }

  /** Throws as `proxyFor`. */
  to(target: URL): Way {
    const path = `${target.pathname}${target.search}`;
    const proxy = proxyFor(target, this.#environment);
    if (proxy === null) return { agent: this.#direct, origin: target.origin, path, headers: {} };
    const headers = this.#headersFor(proxy);
    if (target.protocol === 'https:') {
      return { agent: this.#tunnel(proxy, headers), origin: target.origin, path, headers: {} };
    }
    return {
      agent: this.#direct,
      origin: proxy.origin,
      path: `${target.origin}${path}`,
      headers: { host: target.host, ...headers },
    };
  }

  async close(): Promise<void> {
    this.#closed = true;
    const agents = [this.#direct, ...this.#tunnels.values()];
    this.#tunnels.clear();
    await Promise.all(agents.map((agent) => agent.destroy()));
    for (const socket of this.#connecting) socket.destroy();
  }

  #agent(connect: Connector): Agent {
    const { connections, timeoutMs } = this.#settings;
    // A server without an answer is seen by its timeouts; a pool retries nothing by itself.
    const timeouts = { headersTimeout: timeoutMs, bodyTimeout: timeoutMs };
    return new this.#undici.Agent({ connections, pipelining: 1, connect, ...timeouts });
  }

  /** Its errors are those of `connectError`. */
  #connector(): Connector {
    const { timeoutMs, verify } = this.#settings;
    const plain = this.#undici.buildConnector({ timeout: timeoutMs });
    let secure: Connector | null = null;
    /** One for all connections: it keeps the sessions, which later handshakes go on with. */
    const secureOne = (): Connector => {
      const secureContext = verify ? trust(this.#environment) : undefined;
      return this.#undici.buildConnector({ timeout: timeoutMs, secureContext, rejectUnauthorized: verify });
    };
    return (options, done) => {
      let socket: unknown;
      const ended: buildConnector.Callback = (error, connected) => {
        if (socket instanceof Socket) this.#connecting.delete(socket);
        if (error === null) done(null, connected!);
        else done(connectError(error, options.host ?? options.hostname), null);
      };
      try {
        if (options.protocol === 'https:') secure ??= secureOne();
        socket = (options.protocol === 'https:' ? secure! : plain)(options, ended);
        if (socket instanceof Socket) this.#connecting.add(socket);
      } catch (error) {
        ended(error as Error, null);
      }
    };
  }

  #headersFor({ credentials }: HttpProxy): Record<string, string> {
    const known = this.#settings.proxyCredentials ?? credentials;
    return known === null ? {} : { 'proxy-authorization': basic(known) };
  }

  #tunnel({ origin }: HttpProxy, headers: Record<string, string>): Agent {
    const key = JSON.stringify([origin, headers]);
    let agent = this.#tunnels.get(key);
    if (agent === undefined) {
      const secure = this.#connector();
      agent = this.#agent((options, done) => {
        this.#throughProxy(origin, options, headers).then(
          (socket) => secure({ ...options, httpSocket: socket }, done),
          (error: Error) => done(error, null),
        );
      });
      this.#tunnels.set(key, agent);
    }
    return agent;
  }

  /** Rejects with `ProxyRefusal`, and with the errors of `connectError`. */
  async #throughProxy(proxy: string, { host = '', port }: buildConnector.Options, headers: Record<string, string>) {
    const authority = port === '' ? `${host}:443` : host;
    const request = { origin: proxy, path: authority, headers: { host: authority, ...headers } };
    let answer: Dispatcher.ConnectData;
    try {
      answer = await this.#direct.connect(request);
    } catch (error) {
      throw connectError(error as Error, new URL(proxy).host);
    }
    const socket = answer.socket as Socket;
    const isOpen = answer.statusCode >= 200 && answer.statusCode < 300;
    if (isOpen && !this.#closed) return socket;
    socket.on('error', () => undefined).destroy();
    throw new ProxyRefusal(answer.statusCode, new URL(proxy).host);
  }
}
