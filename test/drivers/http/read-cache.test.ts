// What is fetched of a remote file for small reads: windows, ahead of reads that go on in order, and never much more than was asked for at once.

import { expect } from 'chai';
import { ReadCache } from '../../../src/drivers/protocols/remote/read-cache.js';
import { BlockError } from '../../../src/util/errors.js';
import { failureOf } from '../support.js';

const KIB = 1024;
const MIB = 1024 * KIB;

/** A file of `size` bytes, whose byte at `i` is i / 512; fetches wait until they are let go. */
function remote(size: number, window: number) {
  const asked: [number, number][] = [];
  const waiting: (() => void)[] = [];
  let holds = false;
  let error: BlockError | null = null;
  const cache = new ReadCache(size, window, async (offset, length, take) => {
    asked.push([offset, length]);
    if (holds) await new Promise<void>((resolve) => waiting.push(resolve));
    if (error !== null) throw error;
    take(
      0,
      new Uint8Array(length).map((_, i) => ((offset + i) >> 9) & 0xff),
    );
  });
  const read = async (offset: number, length: number): Promise<void> => {
    const buffer = new Uint8Array(length);
    await cache.read(offset, buffer);
    expect([buffer[0], buffer[length - 1]]).to.deep.equal([(offset >> 9) & 0xff, ((offset + length - 1) >> 9) & 0xff]);
  };
  return {
    asked,
    read,
    hold: () => {
      holds = true;
    },
    letGo: () => {
      for (const go of waiting.splice(0)) go();
    },
    fail: (with_: BlockError | null) => {
      error = with_;
    },
  };
}

describe('the read cache of a remote file', () => {
  it('fetches windows as large as the user says, and ahead, also where they are larger than its own', async () => {
    const { asked, read } = remote(64 * MIB, 4 * MIB);
    for (let at = 0; at < 9 * MIB; at += 64 * KIB) await read(at, 64 * KIB);
    expect(asked).to.deep.equal([
      [0, 4 * MIB],
      [4 * MIB, 4 * MIB],
      [8 * MIB, 4 * MIB],
    ]);
  });

  it('fetches no more than was asked for while much is under way', async () => {
    const { asked, read, hold, letGo } = remote(1024 * MIB, 16 * MIB);
    hold();
    const reads = Array.from({ length: 20 }, (_, i) => read(i * 40 * MIB, 4 * KIB));
    await Promise.resolve();
    letGo();
    await Promise.all(reads);
    expect(asked.length).to.equal(20);
    const all = asked.reduce((sum, [, length]) => sum + length, 0);
    expect(all).to.be.at.most(16 * MIB + 19 * 64 * KIB);
  });

  it('fetches again what could not be fetched, and keeps nothing of it', async () => {
    const { asked, read, fail } = remote(MIB, 256 * KIB);
    fail(new BlockError('limit', 'more than 10 redirections'));
    expect((await failureOf(read(0, 4 * KIB))).code).to.equal('limit');
    fail(null);
    await read(0, 4 * KIB);
    await read(200 * KIB, 4 * KIB);
    expect(asked.length).to.equal(2);
  });
});
