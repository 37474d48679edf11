// Digests of bytes. They are the same on every host. `node:crypto` is loaded when the first one is made.

/** A digest that is fed in parts. */
export interface Digest {
  update(bytes: Uint8Array): unknown;
  /** The digest of all that was fed, in hexadecimal digits. */
  digest(encoding: 'hex'): string;
}

/** The digest of a few bytes, at once. */
export function digestOf(kind: 'md5' | 'sha1' | 'sha256', bytes: Uint8Array): Buffer {
  return process.getBuiltinModule('node:crypto').createHash(kind).update(bytes).digest();
}

/** HMAC with SHA-1 (RFC 2104), 20 bytes. */
export function hmacSha1(key: Uint8Array, text: string): Buffer {
  return process.getBuiltinModule('node:crypto').createHmac('sha1', key).update(text).digest();
}

export function sha256(): Digest {
  return process.getBuiltinModule('node:crypto').createHash('sha256');
}
