// Dirty bitmaps: marking, searching, freezing, merging, and what is refused.
import { expect } from 'chai';
import { DirtyBitmap } from '../../src/block/bitmap.js';
import { BlockError } from '../../src/util/errors.js';

const KIB = 1024;
const TIB = 2 ** 40;

function codeOf(action: () => void): string {
  try {
    action();
  } catch (error) {
    return error instanceof BlockError ? error.code : String(error);
  }
  return 'none';
}

function runsOf(bitmap: DirtyBitmap): string {
  const runs: string[] = [];
  for (let run = bitmap.nextDirtyRun(0); run; run = bitmap.nextDirtyRun(run.offset + run.length)) {
    runs.push(`${run.offset}+${run.length}`);
  }
  return runs.join(' ');
}

describe('DirtyBitmap', () => {
  it('marks whole granules and counts them in whole granules', () => {
    const bitmap = new DirtyBitmap({ name: 'b', size: 10 * KIB + 100, granularity: 4 * KIB });
    bitmap.record(4095, 2);
    expect(runsOf(bitmap)).to.equal('0+8192');
    bitmap.record(10 * KIB, 1);
    expect(runsOf(bitmap)).to.equal(`0+${10 * KIB + 100}`);
    expect(bitmap.dirtyBytes).to.equal(12 * KIB);
  });

  it('does not record while disabled, but can be set', () => {
    const bitmap = new DirtyBitmap({ name: 'b', size: 65536, granularity: 512, enabled: false });
    bitmap.record(0, 512);
    expect(bitmap.dirtyBytes).to.equal(0);
    bitmap.set(0, 512);
    expect(bitmap.dirtyBytes).to.equal(512);
    bitmap.enable();
    bitmap.record(1024, 512);
    expect(runsOf(bitmap)).to.equal('0+512 1024+512');
  });

  it('resets only granules that lie wholly in the range', () => {
    const bitmap = new DirtyBitmap({ size: 5000, granularity: 1024 });
    bitmap.set(0, 5000);
    bitmap.reset(1000, 2000);
    expect(runsOf(bitmap)).to.equal('0+1024 2048+2952');
    bitmap.reset(4096, 904);
    expect(runsOf(bitmap)).to.equal('0+1024 2048+2048');
  });

  it('bounds searches on both sides and a run by its longest length', () => {
    const bitmap = new DirtyBitmap({ size: 64 * KIB, granularity: 1024 });
    bitmap.set(8 * KIB, 8 * KIB);
    expect(bitmap.nextDirty(0, 8 * KIB)).to.equal(-1);
    expect(bitmap.nextDirty(0, 8 * KIB + 1)).to.equal(8 * KIB);
    expect(bitmap.nextDirty(9 * KIB + 7)).to.equal(9 * KIB + 7);
    expect(bitmap.nextZero(9 * KIB)).to.equal(16 * KIB);
    expect(bitmap.nextZero(9 * KIB, 16 * KIB)).to.equal(-1);
    expect(bitmap.nextDirtyRun(100, 3 * KIB)).to.deep.equal({ offset: 8 * KIB, length: 3 * KIB });
    expect(bitmap.nextDirtyRun(100, 30 * KIB, 9 * KIB)).to.deep.equal({ offset: 8 * KIB, length: KIB });
    expect(bitmap.nextDirtyRun(16 * KIB)).to.equal(undefined);
    expect(bitmap.nextDirty(64 * KIB)).to.equal(-1);
  });

  it('costs nothing over 8 TiB until it is written, and finds both ends at once', () => {
    const bitmap = new DirtyBitmap({ size: 8 * TIB, granularity: 64 * KIB });
    expect(bitmap.memory).to.equal(0);
    bitmap.record(8 * TIB - 1, 1);
    bitmap.record(0, 1);
    expect(runsOf(bitmap)).to.equal(`0+65536 ${8 * TIB - 65536}+65536`);
    expect(bitmap.memory).to.be.lessThan(64 * KIB);
    bitmap.set(0, 8 * TIB);
    expect(bitmap.dirtyBytes).to.equal(8 * TIB);
    expect(bitmap.nextZero(0)).to.equal(-1);
  });

  it('holds the largest size at the smallest granularity', () => {
    const size = Number.MAX_SAFE_INTEGER;
    const bitmap = new DirtyBitmap({ size, granularity: 512 });
    bitmap.record(size - 1, 1);
    expect(bitmap.nextDirty(0)).to.equal(2 ** 53 - 512);
    expect(bitmap.nextDirtyRun(0)).to.deep.equal({ offset: 2 ** 53 - 512, length: 511 });
  });

  it('forgets what a truncation cuts off, and new space is clean', () => {
    const bitmap = new DirtyBitmap({ size: 100_000, granularity: 512 });
    bitmap.set(0, 100_000);
    bitmap.truncate(1000);
    expect(bitmap.dirtyBytes).to.equal(1024);
    bitmap.truncate(8192);
    expect(runsOf(bitmap)).to.equal('0+1024');
  });

  it('freezes while it has a successor: recording goes there', () => {
    const bitmap = new DirtyBitmap({ name: 'b', size: 8192, granularity: 512 });
    bitmap.record(0, 512);
    bitmap.createSuccessor();
    bitmap.record(1024, 512);
    expect(bitmap.busy).to.equal(true);
    expect(bitmap.recording).to.equal(true);
    expect(runsOf(bitmap)).to.equal('0+512');
    expect(runsOf(bitmap.clone())).to.equal('0+512');
  });

  it('abdicates to the successor when the job succeeded', () => {
    const bitmap = new DirtyBitmap({ name: 'b', size: 8192, granularity: 512 });
    bitmap.record(0, 512);
    bitmap.createSuccessor();
    bitmap.record(1024, 512);
    bitmap.abdicate();
    expect(bitmap.busy).to.equal(false);
    expect(runsOf(bitmap)).to.equal('1024+512');
    bitmap.record(0, 1);
    expect(runsOf(bitmap)).to.equal('0+512 1024+512');
  });

  it('reclaims the successor when the job failed, also over the memory limit', () => {
    const bitmap = new DirtyBitmap({ name: 'b', size: 64 * 2 ** 20, granularity: 512, memoryLimit: 14_000 });
    bitmap.record(0, 512);
    bitmap.createSuccessor();
    bitmap.record(32 * 2 ** 20, 512);
    bitmap.truncate(48 * 2 ** 20);
    bitmap.reclaim();
    expect(runsOf(bitmap)).to.equal(`0+512 ${32 * 2 ** 20}+512`);
  });

  it('merges from coarser and finer bitmaps', () => {
    for (const granularity of [512, 4096, 65536]) {
      const target = new DirtyBitmap({ name: 't', size: 1_000_000, granularity: 4096 });
      const source = new DirtyBitmap({ name: 's', size: 1_000_000, granularity });
      target.set(0, 1);
      source.set(200_000, 1);
      source.set(999_999, 1);
      target.merge(source);
      expect(target.get(0)).to.equal(true);
      expect(target.get(200_000)).to.equal(true);
      expect(target.get(999_999)).to.equal(true);
      expect(target.nextDirty(4096)).to.equal(
        Math.floor(200_000 / Math.max(granularity, 4096)) * Math.max(granularity, 4096),
      );
    }
  });

  it('merges a bitmap into itself without change', () => {
    const bitmap = new DirtyBitmap({ name: 'b', size: 8192, granularity: 512 });
    bitmap.set(512, 512);
    bitmap.merge(bitmap);
    expect(runsOf(bitmap)).to.equal('512+512');
  });

  it('refuses a bad granularity, size and name', () => {
    for (const granularity of [0, 1, 256, 513, 768, 2 ** 32, -512, 1.5, Number.NaN, 2 ** 31 - 1]) {
      expect(
        codeOf(() => new DirtyBitmap({ size: 1, granularity })),
        String(granularity),
      ).to.equal('invalid-argument');
    }
    for (const size of [-1, 0.5, 2 ** 53, Number.NaN]) {
      expect(
        codeOf(() => new DirtyBitmap({ size })),
        String(size),
      ).to.equal('invalid-argument');
    }
    expect(codeOf(() => new DirtyBitmap({ size: 1, name: '' }))).to.equal('invalid-argument');
    expect(codeOf(() => new DirtyBitmap({ size: 1, name: 'ä'.repeat(512) }))).to.equal('invalid-argument');
    expect(codeOf(() => new DirtyBitmap({ size: 1, name: 'x'.repeat(1023), granularity: 2 ** 31 }))).to.equal('none');
  });

  it('refuses ranges beyond its end', () => {
    const bitmap = new DirtyBitmap({ size: 1000, granularity: 512 });
    expect(codeOf(() => bitmap.record(999, 2))).to.equal('out-of-bounds');
    expect(codeOf(() => bitmap.set(-1, 1))).to.equal('out-of-bounds');
    expect(codeOf(() => bitmap.reset(0, 1.5))).to.equal('out-of-bounds');
    expect(codeOf(() => bitmap.get(1000))).to.equal('out-of-bounds');
    expect(codeOf(() => bitmap.nextDirty(-1))).to.equal('out-of-bounds');
    expect(codeOf(() => bitmap.record(1000, 0))).to.equal('none');
  });

  it('refuses to be changed while busy', () => {
    const other = new DirtyBitmap({ name: 'o', size: 8192 });
    const frozen = new DirtyBitmap({ name: 'b', size: 8192 });
    frozen.createSuccessor();
    const held = new DirtyBitmap({ name: 'h', size: 8192 });
    held.hold();
    for (const bitmap of [frozen, held]) {
      for (const action of [
        () => bitmap.clear(),
        () => bitmap.enable(),
        () => bitmap.disable(),
        () => bitmap.merge(other),
        () => other.merge(bitmap),
        () => bitmap.createSuccessor(),
        () => bitmap.hold(),
      ]) {
        expect(codeOf(action), String(action)).to.equal('busy');
      }
    }
    expect(codeOf(() => frozen.set(0, 1))).to.equal('busy');
    expect(codeOf(() => frozen.reset(0, 8192))).to.equal('busy');
    held.unhold();
    expect(codeOf(() => held.clear())).to.equal('none');
  });

  it('refuses to use an inconsistent bitmap', () => {
    const bitmap = new DirtyBitmap({ name: 'b', size: 8192, inconsistent: true, persistent: true });
    expect(codeOf(() => bitmap.enable())).to.equal('bad-state');
    expect(codeOf(() => bitmap.createSuccessor())).to.equal('bad-state');
  });

  it('refuses to merge different sizes, and to end a successor that is not there', () => {
    const a = new DirtyBitmap({ size: 8192 });
    const b = new DirtyBitmap({ size: 8193 });
    expect(codeOf(() => a.merge(b))).to.equal('invalid-argument');
    expect(codeOf(() => a.abdicate())).to.equal('bad-state');
    expect(codeOf(() => a.reclaim())).to.equal('bad-state');
  });

  it('refuses to take more memory than its limit, before it marks anything', () => {
    const bitmap = new DirtyBitmap({ size: 64 * 2 ** 20, granularity: 512, memoryLimit: 14_000 });
    bitmap.record(0, 1);
    expect(codeOf(() => bitmap.record(40 * 2 ** 20, 1))).to.equal('limit');
    expect(runsOf(bitmap)).to.equal('0+512');
  });
});

describe('DirtyBitmap against a plain model', () => {
  const random = (state: { seed: number }, below: number): number => {
    state.seed = (Math.imul(state.seed, 1664525) + 1013904223) >>> 0;
    return Math.floor((state.seed / 2 ** 32) * below);
  };

  for (let seed = 1; seed <= 12; seed++) {
    it(`seed ${seed}`, () => {
      const state = { seed };
      const granularity = 512 << random(state, 4);
      let size = 1 + random(state, 40_000 * granularity);
      const bitmap = new DirtyBitmap({ name: 'fuzz', size, granularity });
      let frozen = new Set<number>();
      let successor: Set<number> | undefined;
      for (let step = 0; step < 250; step++) {
        const note = `seed ${seed} step ${step}`;
        const offset = random(state, size);
        const length = random(state, Math.min(size - offset + 1, random(state, 8) === 0 ? size : 40 * granularity));
        const first = Math.floor(offset / granularity);
        const last = Math.ceil((offset + length) / granularity);
        const action = random(state, 20);
        if (action < 12) {
          const target = successor ?? frozen;
          bitmap.record(offset, length);
          if (length > 0) for (let i = first; i < last; i++) target.add(i);
        } else if (action < 15 && successor === undefined) {
          bitmap.reset(offset, length);
          const stop = offset + length === size ? last : Math.floor((offset + length) / granularity);
          for (let i = Math.ceil(offset / granularity); length > 0 && i < stop; i++) frozen.delete(i);
        } else if (action === 15) {
          size = 1 + random(state, size * 2);
          bitmap.truncate(size);
          for (const set of [frozen, successor]) for (const i of set ?? []) if (i * granularity >= size) set?.delete(i);
        } else if (action === 16 && successor === undefined) {
          bitmap.createSuccessor();
          successor = new Set();
        } else if (action >= 17 && successor !== undefined) {
          if (action === 17) bitmap.abdicate();
          else bitmap.reclaim();
          frozen = action === 17 ? successor : new Set([...frozen, ...successor]);
          successor = undefined;
        }
        expect(bitmap.dirtyBytes, note).to.equal(frozen.size * granularity);
        const from = random(state, size);
        let dirty = Math.floor(from / granularity);
        const granules = Math.ceil(size / granularity);
        while (dirty < granules && !frozen.has(dirty)) dirty++;
        const at = dirty < granules ? Math.max(from, dirty * granularity) : -1;
        expect(bitmap.nextDirty(from), note).to.equal(at);
        if (at >= 0) {
          let end = dirty;
          while (end < granules && frozen.has(end)) end++;
          const stop = Math.min(size, end * granularity);
          expect(bitmap.nextDirtyRun(from), note).to.deep.equal({ offset: at, length: stop - at });
        }
      }
    });
  }
});
