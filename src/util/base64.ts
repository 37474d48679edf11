// Base64 as QEMU takes it (and GLib): digits, padding and line feeds, of which what is no group of four at the end is left out.

import { BlockError } from './errors.js';

/** Throws `invalid-argument` where there is anything else. */
export function decodeBase64(text: string): Buffer {
  if (!/^[A-Za-z0-9+/=\n]*$/.test(text)) {
    throw new BlockError('invalid-argument', 'Base64 data contains invalid characters');
  }
  const digits = text.replaceAll('\n', '');
  return Buffer.from(digits.slice(0, digits.length - (digits.length % 4)), 'base64');
}
