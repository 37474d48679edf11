// The resources in a property list that can be tables: the contents of its elements `data`, wherever they stand, as QEMU reads it. Shorter ones are left out: a list may hold millions of them. It is no XML to us: there are no entities and no nesting,
// and nothing in it can make it larger than it is.

import { BlockError } from '../../../util/errors.js';
import { TABLE_HEAD_BYTES } from './header.js';

const BEGIN = '<data>';
const END = '</data>';
/** Of base64: 4 for 3 bytes each. */
const MIN_TEXT_BYTES = (TABLE_HEAD_BYTES / 3) * 4;

/** Throws `invalid-image` where an element does not end. */
export function resourcesOfList(bytes: Uint8Array, path: string): Uint8Array[] {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const found: Uint8Array[] = [];
  for (let at = text.indexOf(BEGIN); at !== -1; ) {
    const from = at + BEGIN.length;
    const to = text.indexOf(END, from);
    if (to === -1) {
      const reason = 'A resource of the property list does not end';
      throw BlockError.at(path, 'invalid-image', reason, { operation: 'open' });
    }
    if (to - from >= MIN_TEXT_BYTES) found.push(Buffer.from(text.toString('latin1', from, to), 'base64'));
    at = text.indexOf(BEGIN, to);
  }
  return found;
}
