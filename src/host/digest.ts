// Digests of bytes. They are the same on every host. `node:crypto` is loaded when the first one is made.

/** A digest that is fed in parts. */
export interface Digest {
  update(bytes: Uint8Array): unknown;
  /** The digest of all that was fed, in hexadecimal digits. */
  digest(encoding: 'hex'): string;
}

export function sha256(): Digest {
  return process.getBuiltinModule('node:crypto').createHash('sha256');
}
