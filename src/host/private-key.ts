// Private keys in PEM that are encrypted with a password. They are decrypted when they are read, so that nobody has to keep the password: node:tls would want it
// as a string, which cannot be zeroed.

/** Whether a password is needed to use the key: PKCS #8 says so in its label, older forms in a header. */
export function isEncryptedKey(pem: Uint8Array): boolean {
  return /-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED/m.test(new TextDecoder().decode(pem));
}

/** The same key, not encrypted. Throws an error of node:crypto for another password, and for what is no key. */
export function decryptKey(pem: Uint8Array, password: Uint8Array): Uint8Array {
  const { createPrivateKey } = process.getBuiltinModule('node:crypto');
  const bytes = (part: Uint8Array) => Buffer.from(part.buffer, part.byteOffset, part.byteLength);
  const key = createPrivateKey({ key: bytes(pem), passphrase: bytes(password) });
  return Buffer.from(key.export({ type: 'pkcs8', format: 'pem' }));
}
