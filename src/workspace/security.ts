// Who may connect to an NBD server, and how that is proven.

import type { Graph } from '../block/graph.js';
import type { NbdServerOptions } from '../exports/nbd/server.js';
import type { TlsSettings } from '../host/net.js';

/**
 * `authz` is the id of an authorization object, which is looked for each time that a client comes: where there is none, the client is refused, as is one
 * without a name. Without TLS no client has a name, and `authz` means nothing, as in QEMU.
 */
export function serverSecurity(
  { objects }: Graph,
  tls: TlsSettings | undefined,
  authz: string | undefined,
): Pick<NbdServerOptions, 'tls' | 'authorise'> {
  if (authz === undefined || tls === undefined) return { tls };
  const authorizer = objects.lazyAuthorizer(authz);
  return { tls, authorise: (name) => name !== null && authorizer.authorise(name) };
}
