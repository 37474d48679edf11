// Resolves host names.
import { promisify } from 'node:util';
import { addressText } from '../net-address.js';
import { netError } from './net-errors.js';

/** All addresses of `host`, in the system's order. Rejects with `not-found`. */
export async function resolveHost(host: string, port: number, family: 0 | 4 | 6): Promise<string[]> {
  const { lookup } = process.getBuiltinModule('node:dns');
  try {
    const found = await promisify(lookup)(host, { all: true, family, order: 'verbatim' });
    return [...new Set(found.map(({ address }) => address))];
  } catch (error) {
    throw netError(error, 'Failed to find the host', 'resolve', addressText({ type: 'inet', host, port }));
  }
}
