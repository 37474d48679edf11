// Serving one device by NBD in one call: what the library's `serve` does.

import type { Device } from '../../block/device.js';
import type { Host } from '../../host/host.js';
import type { NetAddress, TlsSettings } from '../../host/net.js';
import { bestEffort } from '../../util/best-effort.js';
import { BlockError } from '../../util/errors.js';
import { NBD_DEFAULT_PORT } from '../../wire/nbd/constants.js';
import type { ExportOptions } from './export.js';
import { NbdServer } from './server.js';

export interface ServeOptions extends ExportOptions {
  /** A UNIX socket's file: one that is left over is replaced, one that a server listens at is not. Otherwise `host` and `port`. */
  path?: string;
  /** Address to listen at. Default: all. */
  host?: string;
  /** 0 takes any free one. Default: 10809. */
  port?: number;
  /** Clients at the same time; those beyond it wait. 0: any number. Default: 100. */
  maxConnections?: number;
  /** Demands TLS, by certificates or pre-shared keys. */
  tls?: Omit<TlsSettings, 'side' | 'hostname' | 'username'>;
  /** Whether the client with this name (of its certificate, or its PSK user) is allowed. Only with `tls`. Default: every client with which TLS came up. */
  authorise?: (name: string | null) => boolean | Promise<boolean>;
}

/** An image that is being served. */
export class NbdService {
  /** `nbd+unix:///?socket=...` or `nbd://...`: what clients are given. */
  readonly uri: string;
  /** Where it listens: the port that was taken. */
  readonly address: NetAddress;
  readonly #server: NbdServer;
  readonly #onClose: () => void;

  /** Made by `serve`. */
  constructor(server: NbdServer, address: NetAddress, uri: string, onClose: () => void) {
    this.uri = uri;
    this.address = address;
    this.#server = server;
    this.#onClose = onClose;
  }

  /** Clients now. */
  get connectionCount(): number {
    return this.#server.connectionCount;
  }

  /** Ends it once what is under way is answered. The image stays open. */
  async close(): Promise<void> {
    try {
      await this.#server.close();
    } finally {
      this.#onClose();
    }
  }
}

/** Rejects with `invalid-argument`, `busy` (address, bitmap), `permission`, `read-only`, `not-found` (bitmap). */
export async function serveDevice(
  host: Host,
  device: Device,
  options: ServeOptions,
  onClose: () => void = () => {},
): Promise<NbdService> {
  const { path, host: name = '', port = NBD_DEFAULT_PORT, maxConnections, tls, authorise } = options;
  if (path !== undefined && (options.host !== undefined || options.port !== undefined)) {
    throw new BlockError('invalid-argument', 'serve takes either a path or a host and port');
  }
  const server = new NbdServer(host, {
    maxConnections,
    tls: tls === undefined ? undefined : { ...tls, side: 'server' },
    authorise,
  });
  try {
    const served = server.addExport(device, options);
    const address = await server.listen(
      path === undefined ? { type: 'inet', host: name, port } : { type: 'unix', path },
    );
    return new NbdService(server, address, nbdUri(address, served.name, tls !== undefined), onClose);
  } catch (error) {
    await server.close().catch(bestEffort('closing after a failure'));
    throw error;
  }
}

/** The NBD URI (doc/uri.md of the NBD project) of an export. Throws `invalid-argument` for an address that has none. */
export function nbdUri(address: NetAddress, name: string, tls: boolean): string {
  const scheme = tls ? 'nbds' : 'nbd';
  const path = name.split('/').map(encodeURIComponent).join('/');
  if (address.type === 'unix') {
    const socket = (address.abstract ? '\0' : '') + address.path;
    return `${scheme}+unix:///${path}?socket=${socket.split('/').map(encodeURIComponent).join('/')}`;
  }
  if (address.type === 'fd') throw new BlockError('invalid-argument', 'a descriptor has no NBD URI');
  const { host, port } = address;
  const anywhere = host === '' || host === '0.0.0.0' || host === '::';
  const place = anywhere ? 'localhost' : host.includes(':') ? `[${host}]` : host;
  return `${scheme}://${place}${port === NBD_DEFAULT_PORT ? '' : `:${port}`}/${path}`;
}
