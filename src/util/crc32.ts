// CRC-32 (as of zlib and of Ethernet), also of zeroes that nobody has in memory.

/** x^32 + x^26 + ... + 1, bits in reverse: x^0 is the highest bit. */
const POLYNOMIAL = 0xedb8_8320;
const ONE = 0x8000_0000;

/** The checksum of `bytes` behind what `before` is the checksum of. */
export function crc32(bytes: Uint8Array, before = 0): number {
  return process.getBuiltinModule('node:zlib').crc32(bytes, before);
}

/** The same of `length` bytes of zero, in a time that does not grow with them. */
export function crc32OfZeroes(length: number, before = 0): number {
  // A byte of zero multiplies the register by x^8; the register is the complement of the checksum.
  let factor = ONE;
  let power = ONE >>> 8;
  for (let left = length; left > 0; left = Math.floor(left / 2)) {
    if (left % 2 === 1) factor = product(factor, power);
    power = product(power, power);
  }
  return ~product(~before >>> 0, factor) >>> 0;
}

/** Of two polynomials over GF(2), modulo the one of the checksum. */
function product(a: number, b: number): number {
  let sum = 0;
  let shifted = b;
  for (let bit = ONE; bit !== 0; bit >>>= 1) {
    if ((a & bit) !== 0) sum ^= shifted;
    shifted = (shifted & 1) !== 0 ? (shifted >>> 1) ^ POLYNOMIAL : shifted >>> 1;
  }
  return sum >>> 0;
}
