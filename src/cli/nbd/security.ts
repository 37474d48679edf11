// Who may come in, and how it is proven: what `--tls-creds` and `--tls-authz` say.

import type { NbdServerOptions } from '../../exports/nbd/server.js';
import { BlockError, toBlockError } from '../../util/errors.js';
import type { Session } from '../session.js';
import type { ServePlan } from './plan.js';

/** Throws `not-found` for an object that is not there, `invalid-argument` for one that is something else. */
export function securityOf(
  { graph }: Session,
  { tlsCreds, tlsAuthz }: ServePlan,
): Pick<NbdServerOptions, 'tls' | 'authorise'> {
  if (tlsCreds === undefined) return {};
  const tls = tlsCredentials(() => graph.objects.tls(tlsCreds, 'server'));
  if (tlsAuthz === undefined) return { tls };
  const authorizer = graph.objects.authorizer(tlsAuthz);
  return { tls, authorise: (name) => name !== null && authorizer.authorise(name) };
}

/** Throws what `find` throws, behind qemu-nbd's words. */
export function tlsCredentials<T>(find: () => T): T {
  try {
    return find();
  } catch (cause) {
    const { code, message } = toBlockError(cause);
    throw new BlockError(code, `Failed to get TLS creds: ${message}`, { cause });
  }
}
