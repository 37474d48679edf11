// `--tls-creds` and `--tls-authz`: the TLS credentials of the server, and the authorization of its clients.

import type { NbdServerOptions } from '../../exports/nbd/server.js';
import { BlockError, toBlockError } from '../../util/errors.js';
import { serverSecurity } from '../../workspace/security.js';
import type { Session } from '../session.js';
import type { ServePlan } from './plan.js';

/** The server's options for both. Throws `not-found` for an object that does not exist, `invalid-argument` for one of another type. */
export function securityOf(
  { graph }: Session,
  { tlsCreds, tlsAuthz }: ServePlan,
): Pick<NbdServerOptions, 'tls' | 'authorise'> {
  const tls = tlsCreds === undefined ? undefined : tlsCredentials(() => graph.objects.tls(tlsCreds, 'server'));
  // A person learns at once that nobody would be let in.
  if (tlsAuthz !== undefined) graph.objects.authorizer(tlsAuthz);
  return serverSecurity(graph, tls, tlsAuthz);
}

/** Runs `find`. Where it throws, the error's message begins with qemu-nbd's `Failed to get TLS creds`. */
export function tlsCredentials<T>(find: () => T): T {
  try {
    return find();
  } catch (cause) {
    const { code, message } = toBlockError(cause);
    throw new BlockError(code, `Failed to get TLS creds: ${message}`, { cause });
  }
}
