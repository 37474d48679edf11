// Resolves host names.
import { promisify } from 'node:util';
import { BlockError } from '../../util/errors.js';
import { addressText } from '../net-address.js';
import { netError } from './net-errors.js';

/** All addresses of `host`, in the system's order. Rejects with `not-found`, and with `invalid-argument` for an address of the other family. */
export async function resolveHost(host: string, port: number, family: 0 | 4 | 6): Promise<string[]> {
  // Node's `lookup` hands on an address whatever its family is.
  const given = process.getBuiltinModule('node:net').isIP(host);
  if (family !== 0 && given !== 0 && given !== family) {
    const path = addressText({ type: 'inet', host, port });
    throw new BlockError(
      'invalid-argument',
      `address resolution failed for ${host}:${port}: Address family for hostname not supported`,
      { operation: 'resolve', path },
    );
  }
  const { lookup } = process.getBuiltinModule('node:dns');
  try {
    const found = await promisify(lookup)(host, { all: true, family, order: 'verbatim' });
    return [...new Set(found.map(({ address }) => address))];
  } catch (error) {
    throw netError(error, 'Failed to find the host', 'resolve', addressText({ type: 'inet', host, port }));
  }
}
