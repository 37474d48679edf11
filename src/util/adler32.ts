const MODULUS = 65521;
/** So many sums cannot overflow 32 bits. */
const STEP = 3800;

/** Adler-32 (RFC 1950, section 8.2): the checksum of a zlib stream's content. */
export function adler32(bytes: Uint8Array): number {
  let a = 1;
  let b = 0;
  for (let at = 0; at < bytes.length; ) {
    for (const end = Math.min(bytes.length, at + STEP); at < end; at++) {
      a += bytes[at];
      b += a;
    }
    a %= MODULUS;
    b %= MODULUS;
  }
  return b * 65536 + a;
}
