// The lengths of requests with several buffers.

import { write } from '../output.js';
import { MAX_REQUEST_BYTES, sizeWord } from './numbers.js';

/** All of them together, bytes; null after a wrong one was reported. */
export function lengthsOf(texts: readonly string[]): number | null {
  let total = 0;
  for (const text of texts) {
    const bytes = sizeWord(text);
    if (bytes === null) return null;
    if (bytes > MAX_REQUEST_BYTES) {
      write(`Argument '${text}' exceeds maximum size ${MAX_REQUEST_BYTES}\n`);
      return null;
    }
    if (total > MAX_REQUEST_BYTES - bytes) {
      write(`The total number of bytes exceed the maximum size ${MAX_REQUEST_BYTES}\n`);
      return null;
    }
    total += bytes;
  }
  return total;
}
