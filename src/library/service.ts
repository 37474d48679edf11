// An image that is being served by NBD.

import { inspect } from 'node:util';
import type { Device } from '../block/device.js';
import type { ExportOptions } from '../exports/nbd/export.js';
import type { NbdClient } from '../exports/nbd/server.js';
import type { Host } from '../host/host.js';
import type { NetAddress, TlsSettings } from '../host/net.js';
import { callback, choice } from '../schema/shape.js';
import { Listeners, once } from '../util/listeners.js';
import { NBD_DEFAULT_PORT } from '../wire/nbd/constants.js';
import { nbdUri, type Served, serveDevice } from '../workspace/serve.js';

/** What a service needs for TLS: with `x509` its certificate and key, with `psk` a key for each user. */
export interface ServiceTls extends Pick<TlsSettings, 'kind' | 'ca' | 'crl' | 'cert' | 'key' | 'passphrase' | 'keys'> {
  /** With `x509`: a client must show a certificate that `ca` has signed. Default: true. With `psk` it means nothing. */
  verifyPeer?: boolean;
}

/** Where and how an image is served. */
export interface ServeOptions extends ExportOptions {
  /**
   * A UNIX socket's file: one that is left over is replaced, one that a server listens at is not. A relative path counts from the working directory
   * at the call. Otherwise `host` and `port`.
   */
  path?: string;
  /** Address to listen at. Default: `127.0.0.1`, which no other machine reaches; `0.0.0.0` or `::` is all. */
  host?: string;
  /** 0 takes any free one. Default: 10809. */
  port?: number;
  /** Clients at the same time; those beyond it wait. 0: any number. Default: 100. */
  maxConnections?: number;
  /** Demands TLS, by certificates or pre-shared keys. */
  tls?: ServiceTls;
  /** Whether the client with this name (of its certificate, or its PSK user) is allowed. Only with `tls`. Default: every client with which TLS came up. */
  authorise?: (name: string | null) => boolean | Promise<boolean>;
}

export interface NbdServiceEvents {
  /** A client has chosen the image. */
  connect: NbdClient;
  /** A client of the image has left; its figures are final. */
  disconnect: NbdClient;
}

/** Serves `device`; `onClose` runs when that is over. Rejects as `serveDevice`. */
export let openService: (host: Host, device: Device, options: ServeOptions, onClose: () => void) => Promise<NbdService>;

/** An image that is being served. */
export class NbdService {
  /** `nbd+unix:///?socket=...` or `nbd://...`: by what clients open it. */
  readonly uri: string;
  /** Where it listens: the port that was taken. */
  readonly address: NetAddress;
  readonly #served: Served;
  readonly #events: Listeners<NbdServiceEvents>;
  readonly #onClose: () => void;

  private constructor(served: Served, tls: boolean, events: Listeners<NbdServiceEvents>, onClose: () => void) {
    this.uri = nbdUri(served.address, served.name, tls);
    this.address = served.address;
    this.#served = served;
    this.#events = events;
    this.#onClose = onClose;
  }

  static {
    openService = async (host, device, options, onClose) => {
      const events = new Listeners<NbdServiceEvents>('listener');
      const {
        path,
        host: name = '127.0.0.1',
        port = NBD_DEFAULT_PORT,
        maxConnections,
        tls,
        authorise,
        ...offered
      } = options;
      const served = await serveDevice(host, device, {
        address: path === undefined ? { type: 'inet', host: name, port } : { type: 'unix', path },
        server: {
          maxConnections,
          tls: tls === undefined ? undefined : { verifyPeer: true, ...tls, side: 'server' },
          authorise,
          onServed: (client) => events.emit('connect', client),
          onLeft: (client, chosen) => {
            if (chosen) events.emit('disconnect', client);
          },
        },
        export: offered,
      });
      return new NbdService(served, tls !== undefined, events, onClose);
    };
  }

  /** Clients now, those that have not chosen the image yet included. */
  get connectionCount(): number {
    return this.#served.server.connectionCount;
  }

  /** The clients of the image now, and what each has done so far. */
  get clients(): NbdClient[] {
    return this.#served.server.clients;
  }

  /** Listens to `connect` or `disconnect`. Returns a function that ends the listening. Throws `invalid-argument`. */
  on<K extends keyof NbdServiceEvents>(name: K, listener: (client: NbdServiceEvents[K]) => unknown): () => void {
    choice('connect', 'disconnect')(name, 'name');
    callback()(listener, 'listener');
    return this.#events.on(name, listener);
  }

  /** Listens to the next event of that name only. Returns as `on`. */
  once<K extends keyof NbdServiceEvents>(name: K, listener: (client: NbdServiceEvents[K]) => unknown): () => void {
    callback()(listener, 'listener');
    return once((own) => this.on(name, own), listener);
  }

  /** Ends it once what is under way is answered. The image stays open. */
  async close(): Promise<void> {
    try {
      await this.#served.server.close();
    } finally {
      this.#onClose();
    }
  }

  /** As `close`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** What `console.log` and `util.inspect` show. */
  [inspect.custom](_depth: number, options: object): string {
    const { uri, connectionCount } = this;
    return `NbdService ${inspect({ uri, connectionCount }, options)}`;
  }
}
