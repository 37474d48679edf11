// The limits of a file on a server, and what its options are where nobody says so.

import { BlockError } from '../../../util/errors.js';
import { SECTOR_BYTES } from '../../../util/numbers.js';

/** Connections to one server for one image: twice as many as a copy has workers. */
export const CONNECTIONS = 8;
const DEFAULT_READAHEAD_BYTES = 256 << 10;
const MOST_READAHEAD_BYTES = 16 << 20;
const DEFAULT_TIMEOUT_SECONDS = 5;
const MOST_TIMEOUT_SECONDS = 10_000;

/** Throws `invalid-argument`, and `limit` for more than the cache takes. */
export function readaheadBytes(readahead = DEFAULT_READAHEAD_BYTES): number {
  if (readahead < 0 || readahead % SECTOR_BYTES !== 0) {
    throw new BlockError('invalid-argument', `HTTP_READAHEAD_SIZE ${readahead} is not a multiple of 512`);
  }
  if (readahead <= MOST_READAHEAD_BYTES) return readahead;
  throw new BlockError('limit', `Parameter 'readahead' must be at most ${MOST_READAHEAD_BYTES}`);
}

/** Milliseconds; 0: no limit. Throws `invalid-argument`. */
export function timeoutMs(seconds = DEFAULT_TIMEOUT_SECONDS): number {
  if (seconds >= 0 && seconds <= MOST_TIMEOUT_SECONDS) return seconds * 1000;
  throw new BlockError('invalid-argument', 'timeout parameter is too large or negative');
}
