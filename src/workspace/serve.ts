// Serves one device over NBD: one server, one export, one address.

import { type Device, rootOf } from '../block/device.js';
import { BlockNode } from '../block/node/node.js';
import { Perm } from '../block/types.js';
import type { ExportOptions } from '../exports/nbd/export.js';
import { NbdServer, type NbdServerOptions } from '../exports/nbd/server.js';
import type { Host } from '../host/host.js';
import type { NetAddress } from '../host/net.js';
import { bestEffort } from '../util/best-effort.js';
import { BlockError } from '../util/errors.js';
import { NBD_DEFAULT_PORT } from '../wire/nbd/constants.js';

export interface ServeRequest {
  address: NetAddress;
  server: NbdServerOptions;
  export: ExportOptions;
}

/** A listening server. */
export interface Served {
  server: NbdServer;
  /** Where it listens, with the port that was chosen where 0 was asked for. */
  address: NetAddress;
  /** Name of the export. */
  name: string;
}

/** Nobody changes the size of the device's node from now on. Throws `permission`. */
export function keepSize(device: Device): void {
  const root = rootOf(device);
  BlockNode.changePermissions(root, root.perm, root.shared & ~Perm.RESIZE);
}

/** Starts a server with one export; nobody else changes the size that its clients are told. Rejects with `invalid-argument`, `busy` (address, bitmap), `permission`, `read-only`, `not-found` (bitmap). */
export async function serveDevice(host: Host, device: Device, request: ServeRequest): Promise<Served> {
  keepSize(device);
  const server = new NbdServer(host, request.server);
  try {
    const { name } = server.addExport(device, request.export);
    return { server, address: await server.listen(request.address), name };
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
  if (address.type !== 'inet') throw new BlockError('invalid-argument', 'a descriptor has no NBD URI');
  const { host, port } = address;
  const anywhere = host === '' || host === '0.0.0.0' || host === '::';
  const place = anywhere ? 'localhost' : host.includes(':') ? `[${host}]` : host;
  return `${scheme}://${place}${port === NBD_DEFAULT_PORT ? '' : `:${port}`}/${path}`;
}
