// Streams of other programs, which are decompressed as wholes: exactly, and with their checksums verified.

import { deflateSync } from 'node:zlib';
import { expect } from 'chai';
import { describe, it } from 'mocha';
import type { Codecs, StreamType } from '../../src/host/host.js';
import { createSimHost } from '../../src/host/sim/index.js';
import { BZIP2, SAMPLE, XZ } from '../formats/dmg/samples.js';
import { failure, overEngines, pattern } from './engines.js';

const STREAMS: readonly [StreamType, Buffer][] = [
  ['zlib-stream', deflateSync(SAMPLE)],
  ['bzip2', BZIP2],
  ['xz', XZ],
];

function defineAll(codecs: () => Codecs): void {
  for (const [type, stream] of STREAMS) {
    const decompress = async (input: Uint8Array, length = SAMPLE.length): Promise<Buffer> => {
      const output = Buffer.alloc(length);
      await codecs().decompress(type, input, output);
      return output;
    };
    const refused = async (input: Uint8Array, length?: number): Promise<string> =>
      (await failure(decompress(input, length))).code;

    it(`${type}: is here`, () => {
      expect(codecs().missing(type)).to.equal(null);
    });

    it(`${type}: fills the output, whatever lies behind the stream`, async () => {
      expect((await decompress(stream)).equals(SAMPLE)).to.equal(true);
      expect((await decompress(Buffer.concat([stream, Buffer.alloc(999, 0xaa)]))).equals(SAMPLE)).to.equal(true);
    });

    it(`${type}: a stream that holds less or more than the output is refused`, async () => {
      for (const length of [1, SAMPLE.length - 1, SAMPLE.length + 1]) {
        expect(await refused(stream, length), `${length}`).to.equal('invalid-image');
      }
    });

    it(`${type}: a stream that is cut, or has a wrong bit anywhere, is refused`, async () => {
      for (const length of [0, 1, 5, stream.length >> 1, stream.length - 1]) {
        expect(await refused(stream.subarray(0, length)), `${length}`).to.equal('invalid-image');
      }
      for (let seed = 1; seed <= 100; seed++) {
        const [a, b, c] = pattern(3, seed);
        const at = (a * 256 + b) % stream.length;
        const broken = Buffer.from(stream);
        broken[at] ^= 1 << (c & 7);
        // A bit that says nothing may be wrong.
        const outcome = await decompress(broken).then(
          (output) => output.equals(SAMPLE),
          (error) => error.code,
        );
        expect(outcome, `byte ${at}`).to.be.oneOf([true, 'invalid-image']);
      }
    });
  }
}

overEngines('codecs of streams', (bench) => defineAll(() => bench.host.codecs));

describe('codecs of streams (simulated)', () => {
  const host = createSimHost({});
  defineAll(() => host.codecs);
});
