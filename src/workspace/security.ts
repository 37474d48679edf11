// Who may connect to an NBD server, and how that is proven.

import type { Graph } from '../block/graph.js';
import type { NbdServerOptions } from '../exports/nbd/server.js';
import type { TlsSettings } from '../host/net.js';

/** `authz` is the id of an authorization object, which is looked for when a client comes; those without a name are refused then, as all are where there is none. */
export function serverSecurity(
  { objects }: Graph,
  tls: TlsSettings | undefined,
  authz: string | undefined,
): Pick<NbdServerOptions, 'tls' | 'authorise'> {
  // Without TLS nobody has a name to be looked at.
  if (authz === undefined || tls === undefined) return { tls };
  const authorizer = objects.authorizerToBe(authz);
  return { tls, authorise: (name) => name !== null && authorizer.authorise(name) };
}
