// The resources in a resource fork that can be tables: its map is not looked at, as QEMU does not. Shorter ones are left out: a fork may hold millions of them.
//
//   | where the resources begin, where the map, bytes of the resources, of the map: 32 bits each | ... | bytes, resource | bytes, resource | ... | map |

import { getBe32 } from '../../../util/bytes.js';
import { BlockError } from '../../../util/errors.js';
import { TABLE_HEAD_BYTES } from './header.js';

const HEAD_BYTES = 16;
const RESOURCES_BYTES_AT = 8;

/** Throws `invalid-image` where a resource does not lie within the fork, among the others. */
export function resourcesOfFork(fork: Uint8Array, path: string): Uint8Array[] {
  const fail = (reason: string): never => {
    throw BlockError.at(path, 'invalid-image', reason, { operation: 'open' });
  };
  if (fork.length < HEAD_BYTES) fail('The resource fork is too short');
  const begin = getBe32(fork, 0);
  const length = getBe32(fork, RESOURCES_BYTES_AT);
  const end = begin + length;
  if (length === 0 || end > fork.length) fail('The resources do not lie within the resource fork');
  const found: Uint8Array[] = [];
  for (let at = begin; at < end; ) {
    const from = at + 4;
    const to = from + (from > end ? 0 : getBe32(fork, at));
    if (to === from || to > end) fail(`The resource at ${at} of the resource fork does not lie among the others`);
    if (to - from >= TABLE_HEAD_BYTES) found.push(fork.subarray(from, to));
    at = to;
  }
  return found;
}
