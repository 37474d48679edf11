// zstd against another implementation: node's own, where it has one, else the package zstd-napi.
import { createRequire } from 'node:module';
import * as zlib from 'node:zlib';
import { expect } from 'chai';
import { leaveOut } from '../support/needs.js';
import { overEngines, pattern } from './engines.js';

const CLUSTER = 65536;

interface Zstd {
  compress(data: Uint8Array): Uint8Array;
  decompress(data: Uint8Array): Uint8Array;
}

/** Newer than the types that we build against: node 22.15 and later. */
const { zstdCompressSync, zstdDecompressSync } = zlib as unknown as Record<string, Zstd['compress'] | undefined>;

function otherZstd(): Zstd | null {
  if (zstdCompressSync !== undefined) return { compress: zstdCompressSync, decompress: zstdDecompressSync! };
  try {
    return createRequire(import.meta.url)('zstd-napi') as Zstd;
  } catch {
    return null;
  }
}

overEngines('zstd', (bench) => {
  let other: Zstd;

  before(function () {
    other = otherZstd() ?? leaveOut(this, 'another zstd');
  });

  it('reads the frames of others, several in a row too', async () => {
    const data = Buffer.concat([pattern(CLUSTER / 2, 1).fill(7, 0, 9999), pattern(CLUSTER / 2, 2).fill(8, 0, 9999)]);
    const halves = [data.subarray(0, CLUSTER / 2), data.subarray(CLUSTER / 2)];
    const back = Buffer.alloc(CLUSTER);
    await bench.host.codecs.decompress('zstd', Buffer.concat(halves.map((half) => other.compress(half))), back);
    expect(back.equals(data)).to.equal(true);
  });

  it('writes frames that others read', async () => {
    const data = pattern(CLUSTER, 3).fill(9, 0, 9999);
    const packed = new Uint8Array(CLUSTER);
    const size = await bench.host.codecs.compress('zstd', data, packed, 1);
    expect(size).to.be.greaterThan(0);
    expect(Buffer.from(other.decompress(packed.subarray(0, size))).equals(data)).to.equal(true);
  });
});
