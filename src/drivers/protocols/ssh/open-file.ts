// Logs in to a server, and opens a file there.

import type { Graph } from '../../../block/graph.js';
import { netAddressOf } from '../../../block/socket-address.js';
import type { InetAddress } from '../../../host/net.js';
import type { SftpOpenMode } from '../../../host/ssh.js';
import type { BlockdevOptionsSsh } from '../../../schema/generated/types.js';
import { BlockError, toBlockError } from '../../../util/errors.js';
import type { SshLink } from './connection.js';
import { keyCheckFor } from './host-key.js';

/** Until somebody is logged in. */
const LOGIN_MS = 20_000;

/** Who the options mean. */
export function userOf({ host }: Graph, { user }: BlockdevOptionsSsh): string {
  return user ?? host.ssh.userName();
}

/** Rejects with `invalid-argument`, `permission` for a server that is not the right one, and for a user whom it does not let in, and as `Ssh.connect` and `SftpSession.open`. */
export async function openRemote(graph: Graph, options: BlockdevOptionsSsh, mode: SftpOpenMode): Promise<SshLink> {
  const { server, path } = options;
  if (!/^\d+$/.test(server.port)) throw new BlockError('invalid-argument', 'Use only numeric port value');
  const address = netAddressOf({ type: 'inet', ...server }) as InetAddress & { port: number };
  const { types, check } = await keyCheckFor(graph, address, options['host-key-check']);
  const session = await graph.host.ssh.connect({
    address,
    user: userOf(graph, options),
    keyTypes: types,
    checkKey: check,
    timeoutMs: LOGIN_MS,
  });
  try {
    return { session, file: await session.open(path, mode) };
  } catch (error) {
    await session.close();
    const { code, reason, errno } = toBlockError(error);
    if (session.lost?.code === 'io' && code === 'io' && errno !== 'EIO') throw error;
    const why = `failed to open remote file '${path}': ${reason}`;
    // Without the system's error: the words of the server say it, and are not to be replaced.
    throw new BlockError(code, why, { operation: 'open', cause: error });
  }
}
