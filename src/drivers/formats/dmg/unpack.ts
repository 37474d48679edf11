// What a chunk holds, from what is stored of it.

import type { Codecs, Host, StreamType } from '../../../host/host.js';
import { BlockError } from '../../../util/errors.js';
import { decompressAdc } from './adc.js';
import { Kind } from './header.js';

const STREAMS: ReadonlyMap<number, StreamType> = new Map([
  [Kind.zlib, 'zlib-stream'],
  [Kind.bzip2, 'bzip2'],
  [Kind.lzma, 'xz'],
]);

type UnpackHost = Pick<Host, 'codecs' | 'clock'>;

/** Whether chunks of this kind are compressed in a way that we know to decompress. */
export function isPacked(kind: number): boolean {
  return kind === Kind.adc || STREAMS.has(kind);
}

/**
 * Fills `output` with what `stored`, of a chunk of such a kind, decompresses to, exactly. Rejects with `invalid-image`, and with `unsupported` where the system's library
 * is not there.
 */
export async function unpack(
  { codecs, clock }: UnpackHost,
  kind: number,
  stored: Uint8Array,
  output: Uint8Array,
): Promise<void> {
  const stream = STREAMS.get(kind);
  if (stream !== undefined) return codecs.decompress(stream, stored, output);
  if (await decompressAdc(clock, stored, output)) return;
  throw new BlockError('invalid-image', `the ADC data is broken, or does not hold ${output.length} bytes`);
}

/** Why no chunk of this kind can be unpacked: its codec is not here. Null: it is, or none is needed. */
export function missingCodec(codecs: Codecs, kind: number): string | null {
  const stream = STREAMS.get(kind);
  return stream === undefined ? null : codecs.missing(stream);
}
