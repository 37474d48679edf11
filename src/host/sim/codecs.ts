// Codecs of the simulated host. The work is done synchronously, by node:zlib and by the addon's codecs (which are loaded at their first use); the schedule decides
// when the result is delivered.

import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { BlockError } from '../../util/errors.js';
import { errnoError } from '../errno.js';
import type { CompressionType, StreamType } from '../host.js';
import { loadNative } from '../real/binding.js';
import { brokenData, CODECS, isStream, missingCodec, missingLibrary, refuseMissing, STREAMS } from '../real/codecs.js';

const WINDOW_BITS = 12;
/** Limit of inflated data in bytes, whatever the stream contains. */
const MAX_INFLATED = 64 * 1024 * 1024;

/** As `Codecs.compress`, synchronously. */
export function compressNow(type: CompressionType, input: Uint8Array, output: Uint8Array, level?: number): number {
  return type === 'zlib' ? deflateInto(input, output, level) : zstdInto(input, output, level);
}

/** As `Codecs.decompress`, synchronously. */
export function decompressNow(type: CompressionType | StreamType, input: Uint8Array, output: Uint8Array): void {
  if (isStream(type)) decompressStream(type, input, output);
  else if (type === 'zlib') inflateInto(input, output);
  else unzstdInto(input, output);
}

/** As `Codecs.missing`. */
export function missingNow(type: CompressionType | StreamType): string | null {
  return type === 'zlib' ? null : missingCodec(loadNative(), type);
}

function deflateInto(input: Uint8Array, output: Uint8Array, level?: number): number {
  const packed = deflateRawSync(input, { windowBits: WINDOW_BITS, ...(level === undefined ? {} : { level }) });
  if (packed.length > output.length) return -1;
  output.set(packed);
  return packed.length;
}

function inflateInto(input: Uint8Array, output: Uint8Array): void {
  let plain: Uint8Array;
  try {
    plain = inflateAsMuchAsIsWanted(input, output.length);
  } catch (cause) {
    throw new BlockError('invalid-image', 'broken zlib data', { operation: 'decompress', cause });
  }
  output.set(plain.subarray(0, output.length));
  if (plain.length < output.length) {
    throw new BlockError('invalid-image', `zlib data ends after ${plain.length} of ${output.length} bytes`, {
      operation: 'decompress',
    });
  }
}

function inflateAsMuchAsIsWanted(input: Uint8Array, wanted: number): Uint8Array {
  try {
    return inflateRawSync(input, { maxOutputLength: wanted });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_BUFFER_TOO_LARGE') throw error;
    return inflateRawSync(input, { maxOutputLength: MAX_INFLATED });
  }
}

function decompressStream(type: StreamType, input: Uint8Array, output: Uint8Array): void {
  const made = loadNative().decompressNow(STREAMS[type].id, input, output);
  if (made === 0) return;
  const { errno } = errnoError(made, { operation: 'decompress', path: type });
  if (errno === 'EOPNOTSUPP') refuseMissing(missingLibrary(type), 'decompress');
  throw brokenData(type, input.length, output.length);
}

function zstdInto(input: Uint8Array, output: Uint8Array, level: number = CODECS.zstd.level): number {
  const native = loadNative();
  refuseMissing(missingCodec(native, 'zstd'), 'compress');
  const made = native.compressNow(CODECS.zstd.id, level, input, output);
  if (made < 0) throw errnoError(made, { operation: 'compress', path: 'zstd' });
  return made === 0 ? -1 : made;
}

function unzstdInto(input: Uint8Array, output: Uint8Array): void {
  const native = loadNative();
  refuseMissing(missingCodec(native, 'zstd'), 'decompress');
  if (native.decompressNow(CODECS.zstd.id, input, output) === 0) return;
  throw new BlockError('invalid-image', `the zstd data is broken, or holds less than ${output.length} bytes`, {
    operation: 'decompress',
  });
}
