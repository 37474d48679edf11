// What of an image's file decides how it is opened: the trailer, and the tables.
//
// It is read as one array, so that it can be read again and compared: | where the trailer lies, 8 bytes | trailer | tables |

import type { Child } from '../../../block/child.js';
import { readUpTo } from '../../../block/stale.js';
import { getBe64, putBe64 } from '../../../util/bytes.js';
import { BlockError } from '../../../util/errors.js';
import { findTrailer, type Header, parseTrailer, SEARCHED_BYTES, TRAILER_BYTES } from './header.js';
import { resourcesOfList } from './property-list.js';
import { resourcesOfFork } from './resource-fork.js';

const PLACE_BYTES = 8;

/** Rejects with `invalid-image` where there is no trailer, or where it makes no sense, and with `limit`. */
export async function readLayout(link: Child): Promise<Uint8Array> {
  const { length, filename } = link;
  const tail = await readUpTo(link, SEARCHED_BYTES, Math.max(0, length - SEARCHED_BYTES));
  const at = findTrailer(tail);
  if (at < 0) {
    const reason =
      length === 0 ? 'dmg file must be at least 512 bytes long' : 'Could not locate UDIF trailer in dmg file';
    throw BlockError.at(filename, 'invalid-image', reason, { operation: 'open' });
  }
  const place = length - tail.length + at;
  const trailer = tail.subarray(at, at + TRAILER_BYTES);
  const { tables } = parseTrailer(trailer, place, filename);
  const bytes = new Uint8Array(PLACE_BYTES + TRAILER_BYTES + tables.length);
  putBe64(bytes, 0, place);
  bytes.set(trailer, PLACE_BYTES);
  await link.read(tables.offset, bytes.subarray(PLACE_BYTES + TRAILER_BYTES));
  return bytes;
}

export interface Layout {
  header: Header;
  /** Tables, and what else is a resource. */
  resources: readonly Uint8Array[];
}

/** `bytes`: what `readLayout` has read. Throws `invalid-image`. */
export function parseLayout(bytes: Uint8Array, path: string): Layout {
  const header = parseTrailer(bytes.subarray(PLACE_BYTES), getBe64(bytes, 0), path);
  const tables = bytes.subarray(PLACE_BYTES + TRAILER_BYTES);
  const resources = header.tables.kind === 'fork' ? resourcesOfFork(tables, path) : resourcesOfList(tables, path);
  return { header, resources };
}
