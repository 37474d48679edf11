// Random UUIDs: version 4 of RFC 9562. Microsoft's formats store a GUID with its first three fields in the other byte order.

import { viewOf } from './bytes.js';

export const UUID_BYTES = 16;

/** Makes a UUID of 16 random bytes; `isGuid`: in Microsoft's byte order. */
export function makeUuid(bytes: Uint8Array, isGuid = false): void {
  const version = isGuid ? 7 : 6;
  bytes[version] = (bytes[version] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
}

/** A new one. `random`: 32 random bits; `isGuid`: see `makeUuid`. */
export function randomUuid(random: () => number, isGuid = false): Uint8Array {
  const bytes = new Uint8Array(UUID_BYTES);
  const view = viewOf(bytes);
  for (let word = 0; word < UUID_BYTES; word += 4) view.setUint32(word, random() >>> 0, true);
  makeUuid(bytes, isGuid);
  return bytes;
}
