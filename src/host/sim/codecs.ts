// Codecs of the simulated host: the work is done at once by node:zlib and zstd-napi; when the answer comes is up to the schedule.

import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { compress as zstdCompress } from 'zstd-napi';
import zstdBinding from 'zstd-napi/binding.js';
import { BlockError } from '../../util/errors.js';
import type { CompressionType } from '../host.js';

const WINDOW_BITS = 12;
/** Inflating stops here at the latest, whatever the stream says. */
const MAX_INFLATED = 64 * 1024 * 1024;

/** As `Codecs.compress`, but at once. */
export function compressNow(type: CompressionType, input: Uint8Array, output: Uint8Array, level?: number): number {
  const packed =
    type === 'zlib'
      ? deflateRawSync(input, { windowBits: WINDOW_BITS, ...(level === undefined ? {} : { level }) })
      : zstdCompress(input, level === undefined ? {} : { compressionLevel: level });
  if (packed.length > output.length) return -1;
  output.set(packed);
  return packed.length;
}

/** As `Codecs.decompress`, but at once. */
export function decompressNow(type: CompressionType, input: Uint8Array, output: Uint8Array): void {
  let length: number;
  try {
    length = type === 'zlib' ? inflateInto(input, output) : unzstdInto(input, output);
  } catch (cause) {
    throw new BlockError('invalid-image', `broken ${type} data`, { operation: 'decompress', cause });
  }
  if (length < output.length) {
    throw new BlockError('invalid-image', `${type} data ends after ${length} of ${output.length} bytes`, {
      operation: 'decompress',
    });
  }
}

function inflateInto(input: Uint8Array, output: Uint8Array): number {
  let plain: Uint8Array;
  try {
    plain = inflateRawSync(input, { maxOutputLength: output.length });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_BUFFER_TOO_LARGE') throw error;
    plain = inflateRawSync(input, { maxOutputLength: MAX_INFLATED });
  }
  const length = Math.min(plain.length, output.length);
  output.set(plain.subarray(0, length));
  return length;
}

function unzstdInto(input: Uint8Array, output: Uint8Array): number {
  const context = new zstdBinding.DCtx();
  let consumed = 0;
  let produced = 0;
  while (produced < output.length && consumed < input.length) {
    const [left, out, used] = context.decompressStream(output.subarray(produced), input.subarray(consumed));
    produced += out;
    consumed += used;
    if (left === 0 || (out === 0 && used === 0)) break;
  }
  return produced;
}
