// The NBD server, and what it offers.

import { flatAddress, netAddressOf } from '../../block/socket-address.js';
import type { NbdServerOptions } from '../../exports/nbd/server.js';
import type { NbdServerOptions as NbdServerSettings } from '../../schema/generated/types.js';
import { serverSecurity } from '../../workspace/security.js';
import type { CommandTable } from '../command.js';
import type { QmpContext } from '../context.js';
import { findNode } from '../find.js';

/** Seconds for a handshake: QEMU's default. */
const HANDSHAKE_SECONDS = 10;

/** Throws `not-found`, `invalid-argument` for objects that are not there or something else. */
function serverOptions({ graph }: QmpContext, args: Omit<NbdServerSettings, 'addr'>): NbdServerOptions {
  const { 'tls-creds': creds, 'tls-authz': authz, 'max-connections': maxConnections = 0 } = args;
  const handshakeTimeoutMs = (args['handshake-max-seconds'] ?? HANDSHAKE_SECONDS) * 1000;
  const tls = creds === undefined ? undefined : graph.objects.tls(creds, 'server');
  return { maxConnections, handshakeTimeoutMs, ...serverSecurity(graph, tls, authz) };
}

/** Rejects as `Exports.startServer`. */
export async function startNbdServer(context: QmpContext, { addr, ...options }: NbdServerSettings): Promise<void> {
  await context.exports.startServer(netAddressOf(addr), serverOptions(context, options));
}

export const EXPORT_COMMANDS = {
  async 'nbd-server-start'(context, { addr, ...options }) {
    await startNbdServer(context, { ...options, addr: flatAddress(addr) });
  },

  'nbd-server-stop': ({ exports }) => exports.stopServer(),

  // As QEMU does: of a read-only node it is no error that an export was to be writable.
  async 'nbd-server-add'(context, { device, name = device, bitmap, ...given }) {
    const { readOnly } = findNode(context, device);
    const options = { ...given, writable: given.writable === true && !readOnly };
    const bitmaps = bitmap === undefined ? undefined : [bitmap];
    await context.exports.add({ type: 'nbd', id: name, 'node-name': device, name, bitmaps, ...options });
  },

  'nbd-server-remove': ({ exports }, { name, mode = 'safe' }) => exports.remove(name, mode),

  'block-export-add': ({ exports }, options) => exports.add(options),
  'block-export-del': ({ exports }, { id, mode = 'safe' }) => exports.remove(id, mode),
  'query-block-exports': ({ exports }) => exports.list(),
} satisfies Partial<CommandTable>;
