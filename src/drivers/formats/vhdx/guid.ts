// The GUIDs of VHDX, as hexadecimal digits of their bytes in the file.

import { randomUuid, UUID_BYTES } from '../../../util/uuid.js';

export const NO_GUID = '0'.repeat(2 * UUID_BYTES);

export function getGuid(bytes: Uint8Array, at: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + at, UUID_BYTES).toString('hex');
}

export function putGuid(bytes: Uint8Array, at: number, guid: string): void {
  bytes.set(Buffer.from(guid, 'hex'), at);
}

/** A new one. `random`: 32 random bits. */
export function randomGuid(random: () => number): string {
  return getGuid(randomUuid(random, true), 0);
}
