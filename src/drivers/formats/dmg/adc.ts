// Apple Data Compression: bytes as they are, and copies of what was decompressed before.
//
//   1nnnnnnn, then n + 1 bytes        bytes as they are
//   00nnnndd dddddddd                 n + 3 bytes from d + 1 bytes before
//   01nnnnnn dddddddd dddddddd        n + 4 bytes from d + 1 bytes before

/** Whether `packed` decompresses to all of `output`; what is behind that in `packed` is ignored. */
export function decompressAdc(packed: Uint8Array, output: Uint8Array): boolean {
  let to = 0;
  for (let at = 0; to < output.length; ) {
    const code = packed[at]!;
    if (at >= packed.length) return false;
    if ((code & 0x80) !== 0) {
      const length = (code & 0x7f) + 1;
      const end = at + 1 + length;
      if (end > packed.length || to + length > output.length) return false;
      output.set(packed.subarray(at + 1, end), to);
      to += length;
      at = end;
      continue;
    }
    const isLong = (code & 0x40) !== 0;
    const next = at + (isLong ? 3 : 2);
    if (next > packed.length) return false;
    const length = isLong ? (code & 0x3f) + 4 : (code >> 2) + 3;
    const back = (isLong ? (packed[at + 1]! << 8) | packed[at + 2]! : ((code & 3) << 8) | packed[at + 1]!) + 1;
    if (back > to || to + length > output.length) return false;
    // Byte by byte: a copy may run into what it has just written.
    for (const end = to + length; to < end; to++) output[to] = output[to - back]!;
    at = next;
  }
  return true;
}
