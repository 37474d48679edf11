// The GUIDs of VHDX, as hexadecimal digits of their bytes in the file.

import { viewOf } from '../../../util/bytes.js';

export const GUID_BYTES = 16;
export const NO_GUID = '0'.repeat(2 * GUID_BYTES);

export function getGuid(bytes: Uint8Array, at: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + at, GUID_BYTES).toString('hex');
}

export function putGuid(bytes: Uint8Array, at: number, guid: string): void {
  bytes.set(Buffer.from(guid, 'hex'), at);
}

/** A random GUID, version 4 of RFC 9562. `random`: 32 random bits. */
export function randomGuid(random: () => number): string {
  const bytes = new Uint8Array(GUID_BYTES);
  const view = viewOf(bytes);
  for (let word = 0; word < GUID_BYTES; word += 4) view.setUint32(word, random() >>> 0, true);
  bytes[7] = (bytes[7] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  return getGuid(bytes, 0);
}
