// The password of an encrypted image, which is a secret of the graph.

import type { Graph } from '../../../block/graph.js';
import { BlockError } from '../../../util/errors.js';

/** Throws `invalid-argument` where the option `member` names no password, `not-found` where there is no such secret. */
export function checkPassword(
  graph: Graph,
  id: string | undefined,
  member: string,
  path: string,
): asserts id is string {
  if (id === undefined) throw BlockError.at(path, 'invalid-argument', `Parameter '${member}' is required for cipher`);
  graph.objects.secret(id);
}

/**
 * Runs `action` with the password that the option `member` names: with a copy, which stays as it is where the object is removed meanwhile. Rejects as
 * `checkPassword` throws.
 */
export async function withPassword<T>(
  graph: Graph,
  id: string | undefined,
  member: string,
  path: string,
  action: (password: Uint8Array) => Promise<T>,
): Promise<T> {
  checkPassword(graph, id, member, path);
  const password = graph.objects.copySecret(id);
  try {
    return await action(password);
  } finally {
    graph.host.ciphers.forget(password);
  }
}
