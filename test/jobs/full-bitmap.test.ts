// A job's bitmap that is at its memory limit: what was written, or is not on the target yet, stays marked all the same.

import { expect } from 'chai';
import { DirtyBitmap } from '../../src/block/bitmap.js';
import { BitmapUse } from '../../src/jobs/bitmap-use.js';
import { wholeContent } from '../../src/jobs/copy-plan.js';
import { DirtyChunks } from '../../src/jobs/dirty-chunks.js';
import { BackgroundObserver, BlockingObserver, type MirrorState } from '../../src/jobs/mirror-state.js';
import { BlockError } from '../../src/util/errors.js';
import { RangeLock } from '../../src/util/range-lock.js';
import { KiB, MiB, World } from './world.js';

const SIZE = 64 * MiB;
const GRAIN = 512;
const FAR = 48 * MiB;

/** Takes no mark at `FAR` any more, unless it must. */
function fullBitmap(): DirtyBitmap {
  const bitmap = new DirtyBitmap({ size: SIZE, granularity: GRAIN, memoryLimit: 14_000 });
  bitmap.set(0, GRAIN);
  expect(() => bitmap.set(FAR, GRAIN)).to.throw(BlockError, /limit/);
  return bitmap;
}

function stateOf(bitmap: DirtyBitmap): MirrorState {
  const world = new World();
  const source = world.node('source', SIZE);
  const lock = new RangeLock();
  return {
    dirty: bitmap,
    lock,
    chunks: new DirtyChunks({ bitmap, lock, source, base: () => null, classify: wholeContent }),
    target: () => {
      throw new BlockError('io', 'planned');
    },
    unmap: true,
    fua: undefined,
    pristine: true,
    wholeClusters: false,
    wake: () => {},
  };
}

describe('a bitmap at its limit', () => {
  const extents = [{ offset: FAR, length: GRAIN }];

  it('takes the writes that a mirror in the background follows', () => {
    const bitmap = fullBitmap();
    new BackgroundObserver(stateOf(bitmap)).written(FAR, GRAIN);
    expect(bitmap.get(FAR)).to.equal(true);
  });

  it('takes those that did not reach the target', async () => {
    const bitmap = fullBitmap();
    const observer = new BlockingObserver(stateOf(bitmap));
    await observer.beforeWrite(extents);
    await observer.afterWrite(extents, 'zero', null);
    expect(bitmap.get(FAR)).to.equal(true);
  });

  it('gives back what a sweep cannot claim', async () => {
    const world = new World();
    const source = world.node('source', SIZE);
    // All is dirty, which costs nothing; the claim of a part would.
    const bitmap = new DirtyBitmap({ size: SIZE, granularity: GRAIN, memoryLimit: 9000 });
    bitmap.set(0, SIZE);
    const lock = new RangeLock();
    const chunks = new DirtyChunks({ bitmap, lock, source, base: () => null, classify: () => 'data' });
    const code = await chunks.next(1 << 20).then(
      () => null,
      (error: BlockError) => error.code,
    );
    expect(code).to.equal('limit');
    expect(lock.free(0, SIZE)).to.equal(true);
    expect(bitmap.dirtyBytes).to.equal(SIZE);
  });

  it("keeps a user's bitmap whole where a job fails", () => {
    const bitmap = new DirtyBitmap({ name: 'mine', size: SIZE, granularity: GRAIN, memoryLimit: 14_000 });
    bitmap.set(0, GRAIN);
    const use = new BitmapUse(bitmap, 'always', 'bitmap');
    use.freeze();
    bitmap.record(0, GRAIN);
    const rest = new DirtyBitmap({ size: SIZE, granularity: GRAIN });
    rest.set(FAR, 4 * KiB);
    use.fail(rest);
    expect([bitmap.get(0), bitmap.get(FAR), bitmap.busy]).to.deep.equal([true, true, false]);
  });
});
