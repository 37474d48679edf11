// Who may connect to an NBD server, and how that is proven.

import type { Graph } from '../block/graph.js';
import type { NbdServerOptions } from '../exports/nbd/server.js';
import type { TlsSettings } from '../host/net.js';

/** `authz` is the id of an authorization object; clients without a name are refused then. Throws `not-found`, `invalid-argument`. */
export function serverSecurity(
  { objects }: Graph,
  tls: TlsSettings | undefined,
  authz: string | undefined,
): Pick<NbdServerOptions, 'tls' | 'authorise'> {
  if (authz === undefined) return { tls };
  const authorizer = objects.authorizer(authz);
  return { tls, authorise: (name) => name !== null && authorizer.authorise(name) };
}
