// Ciphers of small pieces. They are the same on every host. `node:crypto` takes 6 ms to load: a command that needs none does without.

/** AES-256 in CBC mode; `data` is whole blocks of 16 bytes, whose padding is kept. */
export function decryptAes256Cbc(key: Uint8Array, iv: Uint8Array, data: Uint8Array): Uint8Array {
  const { createDecipheriv } = process.getBuiltinModule('node:crypto');
  const cipher = createDecipheriv('aes-256-cbc', key, iv).setAutoPadding(false);
  return Buffer.concat([cipher.update(data), cipher.final()]);
}
