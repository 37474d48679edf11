// Apple Data Compression: bytes as they are, and copies of what was decompressed before.
//
//   1nnnnnnn, then n + 1 bytes        bytes as they are
//   00nnnndd dddddddd                 n + 3 bytes from d + 1 bytes before
//   01nnnnnn dddddddd dddddddd        n + 4 bytes from d + 1 bytes before

import type { Clock } from '../../../host/host.js';
import { nextTurn } from '../../../host/sleep.js';

/** So many bytes, a few milliseconds of work, are decompressed in one go. */
const TURN_BYTES = 1 << 20;

/** Resolves with whether `packed` decompresses to all of `output`; what is behind that in `packed` is ignored. Others have their turn meanwhile: a chunk may have 64 MiB. */
export async function decompressAdc(clock: Clock, packed: Uint8Array, output: Uint8Array): Promise<boolean> {
  const done = { at: 0, to: 0 };
  for (;;) {
    if (!decompressPart(packed, output, done)) return false;
    if (done.to === output.length) return true;
    await nextTurn(clock);
  }
}

/** Goes on at the byte `at` of `packed`, which becomes the byte `to` of `output`, for one turn. Returns whether that is possible. */
function decompressPart(packed: Uint8Array, output: Uint8Array, done: { at: number; to: number }): boolean {
  let { at, to } = done;
  for (const turnEnd = Math.min(to + TURN_BYTES, output.length); to < turnEnd; ) {
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
  done.at = at;
  done.to = to;
  return true;
}
