import { expect } from 'chai';
import { createSimHost } from '../../src/host/sim/index.js';
import { CHUNK_BYTES, type CopyContext, type EngineOptions, freeContext, runCopy } from '../../src/jobs/copy-engine.js';
import type { Chunk, ChunkSource } from '../../src/jobs/copy-plan.js';
import { BlockError } from '../../src/util/errors.js';

const STEP = 2 * CHUNK_BYTES;

/** Chunks of [0, `total`), as large as the engine wants them. */
class Counting implements ChunkSource {
  readonly asked: number[] = [];
  readonly #total: number;
  #at = 0;

  constructor(total: number) {
    this.#total = total;
  }

  async next(bytes: number): Promise<Chunk | null> {
    if (this.#at === this.#total) return null;
    this.asked.push(bytes);
    const length = Math.min(bytes, this.#total - this.#at);
    const chunk: Chunk = { kind: 'data', extents: [{ offset: this.#at, length }], bytes: length };
    this.#at += length;
    return chunk;
  }
}

function options(chunks: ChunkSource, copy: EngineOptions['copy'], more: Partial<EngineOptions> = {}): EngineOptions {
  return { memory: createSimHost().memory, chunks, copy, stepBytes: () => STEP, workers: 1, ...more };
}

const inMiB = (bytes: readonly number[]) => bytes.map((one) => one / CHUNK_BYTES);

describe('what the copy engine hands out', () => {
  it('is more once a step of the host has moved a chunk', async () => {
    const chunks = new Counting(5 * CHUNK_BYTES);
    await runCopy(
      freeContext(),
      options(chunks, async () => null),
    );
    expect(inMiB(chunks.asked)).to.deep.equal([1, 2, 2]);
  });

  it('is one buffer where chunks go through it', async () => {
    const chunks = new Counting(4 * CHUNK_BYTES);
    const copy: EngineOptions['copy'] = async ({ bytes }, buffer) => {
      expect(buffer()).to.have.lengthOf.at.least(bytes);
      return null;
    };
    await runCopy(freeContext(), options(chunks, copy));
    expect(inMiB(chunks.asked)).to.deep.equal([1, 1, 1, 1]);
  });

  it('is one buffer with a rate, which may be set and lifted meanwhile', async () => {
    const chunks = new Counting(6 * CHUNK_BYTES);
    const ctx: CopyContext & { speed: number } = { ...freeContext(), speed: 0 };
    await runCopy(
      ctx,
      options(chunks, async ({ extents: [{ offset }] }) => {
        ctx.speed = offset === CHUNK_BYTES ? 1000 : 0;
        return null;
      }),
    );
    expect(inMiB(chunks.asked)).to.deep.equal([1, 2, 1, 2]);
  });

  it('is one buffer while somebody must not wait for long', async () => {
    const chunks = new Counting(5 * CHUNK_BYTES);
    let guests = false;
    const copy: EngineOptions['copy'] = async ({ extents: [{ offset }] }) => {
      guests = offset === CHUNK_BYTES;
      return null;
    };
    await runCopy(freeContext(), options(chunks, copy, { stepBytes: () => (guests ? 0 : STEP) }));
    expect(inMiB(chunks.asked)).to.deep.equal([1, 2, 1, 2]);
  });
});

describe('a fault of a large chunk', () => {
  const failure = () => new BlockError('io', 'planted');
  const spans = (seen: Chunk[]) =>
    seen.map(({ extents: [{ offset }], bytes }) => `${offset / CHUNK_BYTES}+${bytes / CHUNK_BYTES}`);

  /** Copies 5 MiB, of which the second chunk, of 2 MiB, fails in its second half, and so does that half, `times`. */
  async function run(times: number, more: Partial<EngineOptions>, decision: 'ignore' | 'retry' | 'report') {
    const seen: Chunk[] = [];
    const where: unknown[] = [];
    const ctx: CopyContext = {
      ...freeContext(),
      async handleError(_error, _isRead, guestOffset) {
        where.push(guestOffset);
        return decision;
      },
    };
    const copy: EngineOptions['copy'] = async (chunk) => {
      seen.push(chunk);
      const { offset, length } = chunk.extents[0];
      const bad = 2.5 * CHUNK_BYTES;
      if (offset > bad || offset + length <= bad || times-- <= 0) return null;
      return { error: failure(), isRead: true, at: bad - offset };
    };
    const error = await runCopy(ctx, options(new Counting(5 * CHUNK_BYTES), copy, more)).then(
      () => null,
      (thrown: BlockError) => thrown,
    );
    return { seen: spans(seen), where, error };
  }

  it('is told of where the part that failed begins', async () => {
    const { where, error } = await run(1, {}, 'report');
    expect(where).to.deep.equal([2 * CHUNK_BYTES]);
    expect(error?.guestOffset).to.equal(2 * CHUNK_BYTES);
  });

  it('is tried again in parts, the one that failed first', async () => {
    const { seen, where } = await run(2, {}, 'retry');
    expect(seen).to.deep.equal(['0+1', '1+2', '2+1', '2+1', '1+1', '3+2']);
    expect(where).to.deep.equal([2 * CHUNK_BYTES, 2 * CHUNK_BYTES]);
  });

  it('leaves behind no more than that part', async () => {
    let left = 0;
    const { seen } = await run(9, { leftBehind: () => left++ }, 'ignore');
    expect(seen).to.deep.equal(['0+1', '1+2', '1+1', '3+2']);
    expect(left).to.equal(1);
  });

  it('is given back as a whole where the source of chunks brings it again', async () => {
    const back: Chunk[] = [];
    const { seen } = await run(1, { abandoned: (chunk) => back.push(chunk) }, 'retry');
    expect(spans(back)).to.deep.equal(['1+2']);
    expect(seen).to.deep.equal(['0+1', '1+2', '3+1', '4+1']);
  });
});
