// Digests of bytes. They are the same on every host.

import { createHash } from 'node:crypto';

/** What is fed to it in parts. */
export interface Digest {
  update(bytes: Uint8Array): unknown;
  /** The digest of all that was fed, in hexadecimal digits. */
  digest(encoding: 'hex'): string;
}

export function sha256(): Digest {
  return createHash('sha256');
}
