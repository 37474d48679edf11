// The codecs of the addon: whole buffers, on worker threads of their own. Buffers outside the arena are copied in and out.
import { constants } from 'node:os';
import { BlockError } from '../../util/errors.js';
import type { Codecs, CompressionType, StreamType } from '../host.js';
import type { Native } from './binding.js';
import { type Engine, Requester } from './engine.js';
import type { ArenaMemory } from './memory.js';
import { Op } from './table.js';

/** Number in the addon, default level, highest level (QEMU's defaults are the codecs' own). */
export const CODECS: Readonly<Record<CompressionType, { id: number; level: number; min: number; max: number }>> = {
  zlib: { id: 0, level: 6, min: 0, max: 9 },
  zstd: { id: 1, level: 3, min: 1, max: 22 },
};

/** Numbers in the addon, and the libraries that are to be in the system; null: it is a part of the addon. */
export const STREAMS: Readonly<Record<StreamType, { id: number; library: string | null }>> = {
  'zlib-stream': { id: 2, library: null },
  bzip2: { id: 3, library: 'libbz2' },
  xz: { id: 4, library: 'liblzma' },
};

/** As `Codecs.missing`. */
export function missingCodec(native: Native, type: CompressionType | StreamType): string | null {
  if (isStream(type)) return hasLibrary(native, type) ? null : missingLibrary(type);
  if (type === 'zlib' || !native.codecs.endsWith('no zstd')) return null;
  return `this build of diskwright's addon has no ${type} (see "diskwright --version")`;
}

function hasLibrary(native: Native, type: StreamType): boolean {
  const { id, library } = STREAMS[type];
  // The addon looks for the library before it looks at the stream, and no stream is so short.
  return (
    library === null || native.decompressNow(id, new Uint8Array(1), new Uint8Array(1)) !== -constants.errno.EOPNOTSUPP
  );
}

export function missingLibrary(type: StreamType): string {
  return `${type} needs the system's library ${STREAMS[type].library}, which is not installed`;
}

/** Throws `unsupported` where `missing`, of `Codecs.missing`, says why. */
export function refuseMissing(missing: string | null, operation: string): void {
  if (missing !== null) throw new BlockError('unsupported', missing, { operation });
}

/** `stored` bytes do not decompress to `bytes`. */
export function brokenData(
  type: CompressionType | StreamType,
  stored: number,
  bytes: number,
  cause?: BlockError,
): BlockError {
  const text = isStream(type)
    ? `the ${type.replace('-stream', '')} stream is broken, or does not hold ${bytes} bytes`
    : `the ${type} data is broken, or holds less than ${bytes} bytes`;
  return new BlockError('invalid-image', text, { operation: 'decompress', length: stored, cause });
}

export function isStream(type: CompressionType | StreamType): type is StreamType {
  return type in STREAMS;
}

export class NativeCodecs implements Codecs {
  readonly description: string;
  #engine: Engine;
  #memory: ArenaMemory;
  #who = new Requester('codec');

  constructor(engine: Engine, memory: ArenaMemory) {
    this.#engine = engine;
    this.#memory = memory;
    this.description = engine.native.codecs;
  }

  missing(type: CompressionType | StreamType): string | null {
    return missingCodec(this.#engine.native, type);
  }

  async compress(type: CompressionType, input: Uint8Array, output: Uint8Array, level?: number): Promise<number> {
    const kind = CODECS[type];
    const chosen = level ?? kind.level;
    if (!Number.isInteger(chosen) || chosen < kind.min || chosen > kind.max) {
      throw new BlockError('invalid-argument', `${type} has no level ${chosen}`, { operation: 'compress' });
    }
    refuseMissing(this.missing(type), 'compress');
    const length = await this.#run(Op.compress, kind.id, input, output, chosen);
    return length === 0 ? -1 : length;
  }

  async decompress(type: CompressionType | StreamType, input: Uint8Array, output: Uint8Array): Promise<void> {
    if (!isStream(type)) refuseMissing(this.missing(type), 'decompress');
    const { id } = isStream(type) ? STREAMS[type] : CODECS[type];
    try {
      await this.#run(Op.decompress, id, input, output, 0);
    } catch (error) {
      if (!(error instanceof BlockError)) throw error;
      if (error.errno === 'EOPNOTSUPP' && isStream(type)) refuseMissing(missingLibrary(type), 'decompress');
      if (error.errno !== 'EBADMSG') throw error;
      throw brokenData(type, input.byteLength, output.byteLength, error);
    }
  }

  async #run(op: number, codec: number, input: Uint8Array, output: Uint8Array, level: number): Promise<number> {
    const memory = this.#memory;
    const ownInput = memory.addressOf(input);
    const ownOutput = memory.addressOf(output);
    const from = ownInput === 0 ? memory.allocate(input.byteLength) : input;
    let to = output;
    try {
      if (ownOutput === 0) to = memory.allocate(output.byteLength);
      if (ownInput === 0) from.set(input);
      // The descriptor of a codec's request has the codec's number in the field of the file, and the sizes of both buffers.
      const request = this.#engine.prepare(op, codec);
      request.address = memory.addressOf(from);
      request.length = input.byteLength;
      request.extra = level;
      request.offset2 = output.byteLength;
      request.address2 = memory.addressOf(to);
      const made = await this.#engine.start(this.#who);
      if (ownOutput === 0) output.set(op === Op.compress ? to.subarray(0, made) : to);
      return made;
    } finally {
      if (ownInput === 0) memory.free(from);
      if (to !== output) memory.free(to);
    }
  }
}
