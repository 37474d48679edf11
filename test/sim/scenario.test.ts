// Some seeded scenarios; `npm run soak -- sim` runs more. A seed that failed once stays here as a test of its own.

import { expect } from 'chai';
import { DataFile } from '../../src/drivers/formats/qcow2/data-file.js';
import { EncryptedData } from '../../src/drivers/formats/qcow2/encrypted-data.js';
import { Frees } from '../../src/drivers/formats/qcow2/frees.js';
import { Qcow2Image } from '../../src/drivers/formats/qcow2/image.js';
import { ExtendedL2Codec } from '../../src/drivers/formats/qcow2/l2-extended.js';
import { Mapping } from '../../src/drivers/formats/qcow2/mapping.js';
import { ImageFile } from '../../src/drivers/image-file.js';
import { FORMATS } from '../formats/index.js';
import { seedsOf, spanOf, timeLimit } from '../support/sample.js';
import type { ViolationKind } from './guest.js';
import { expectFound } from './planted.js';
import { runScenario, type ScenarioOptions } from './scenario.js';

const SEEDS = seedsOf({ fixed: 120, daily: 60, soak: 10_000 });
const FEW = SEEDS.filter((_, i) => i % 12 === 0);
const SOME = SEEDS.filter((_, i) => i % 4 === 0);

async function runSeeds(seeds: readonly number[], options: ScenarioOptions): Promise<void> {
  const broken: string[] = [];
  for (const seed of seeds) {
    await runScenario(seed, options).catch((error: Error) => broken.push(error.message));
  }
  expect(broken.join('\n')).to.equal('');
}

function found(kinds: readonly ViolationKind[], options: ScenarioOptions, likely?: number): Promise<void> {
  return expectFound(kinds, (seed) => runScenario(seed, { ...options, errors: false }), likely);
}

describe('simulation: guest I/O', function () {
  this.timeout(timeLimit(600_000));

  it(`raw keeps its promises through faults and power loss (${spanOf(SOME)})`, () => runSeeds(SOME, { format: 'raw' }));

  it(`qcow2 keeps its promises through faults and power loss (${spanOf(SEEDS)})`, () =>
    runSeeds(SEEDS, { format: 'qcow2' }));

  it(`encrypted qcow2 keeps its promises through faults and power loss (${spanOf(FEW)})`, () =>
    runSeeds(FEW, { format: 'qcow2', encrypted: true }));

  it(`qcow2 with extended L2 entries keeps its promises through faults and power loss (${spanOf(FEW)})`, () =>
    runSeeds(FEW, { format: 'qcow2', extended: true }));

  for (const { name, simulated } of FORMATS) {
    if (simulated === undefined) continue;
    it(`${name} keeps its promises through faults and power loss (${spanOf(SOME)})`, () =>
      runSeeds(SOME, { format: name }));
  }

  it('runs the same way twice', async () => {
    const traces = await Promise.all(
      [0, 1].map(async () => {
        const hashes: string[] = [];
        await runScenario(7, { inspect: (host) => hashes.push(host.traceHash()) });
        return hashes.join();
      }),
    );
    expect(traces[0]).to.equal(traces[1]);
  });
});

describe('simulation: the scenarios', function () {
  this.timeout(timeLimit(600_000));

  it('show a disk that ignores flushes', async () => {
    for (const format of ['raw', 'qcow2', ...FORMATS.filter(({ simulated }) => simulated).map(({ name }) => name)]) {
      await found(['content', 'metadata'], { format, plant: { ignoreFlush: true } });
    }
  });

  it('show space that is taken for zeroes, and decrypts to something else', async () => {
    const { makeRoom } = EncryptedData.prototype;
    EncryptedData.prototype.makeRoom = DataFile.prototype.makeRoom;
    try {
      await found(['content'], { format: 'qcow2', encrypted: true });
    } finally {
      EncryptedData.prototype.makeRoom = makeRoom;
    }
  });

  it('show tables of subclusters that are written before what they point to is on disk', async () => {
    const { setSubclusters } = Mapping.prototype;
    // A commit writes new tables first, without a flush before them.
    Mapping.prototype.setSubclusters = function (table, slot, entry) {
      setSubclusters.call(this, table, slot, entry);
      table.isNew = true;
    };
    try {
      await found(['content', 'metadata'], { format: 'qcow2', extended: true, depth: 1, dense: true }, 47);
    } finally {
      Mapping.prototype.setSubclusters = setSubclusters;
    }
  });

  it('show data of subclusters that is not copied with a cluster', async () => {
    const { put } = ExtendedL2Codec.prototype;
    // The other subclusters of a cluster that was copied stay behind, as if only what is written had to go to the new place.
    ExtendedL2Codec.prototype.put = function (view, slot, host, copied, data, zeroes) {
      const old = this.decode(view, slot);
      put.call(this, view, slot, host, copied, old.host === host ? data : data & ~old.data, zeroes);
    };
    try {
      await found(['content'], { format: 'qcow2', extended: true, depth: 1 });
    } finally {
      ExtendedL2Codec.prototype.put = put;
    }
  });

  it('show a commit whose steps may reach the disk in any order', async () => {
    const { flush } = ImageFile.prototype;
    const { commit } = Qcow2Image.prototype;
    // Nothing is flushed between the steps of a commit, all of it at the end: only the order is lost.
    ImageFile.prototype.flush = async () => {};
    Qcow2Image.prototype.commit = async function () {
      await commit.call(this);
      await flush.call(this.file);
    };
    try {
      await found(['content', 'metadata'], { format: 'qcow2' }, 6);
    } finally {
      ImageFile.prototype.flush = flush;
      Qcow2Image.prototype.commit = commit;
    }
  });

  it('show a refcount that is lowered before the mapping is gone', async () => {
    const { add } = Frees.prototype;
    const { indexMetadata } = Qcow2Image.prototype;
    const images = new WeakMap<Frees, Qcow2Image>();
    Qcow2Image.prototype.indexMetadata = function () {
      images.set(this.frees, this);
      indexMetadata.call(this);
    };
    // Lowered at once where the refcount block is at hand; `release` would leak the others.
    Frees.prototype.add = function (cluster, count, punch) {
      const { allocation, refcounts } = images.get(this)!;
      for (let at = cluster; at < cluster + count; at++) {
        if (refcounts.blocks.get(refcounts.indexOf(at)) !== undefined) allocation.release(at, 1);
        else add.call(this, at, 1, punch);
      }
    };
    try {
      await found(['metadata'], { format: 'qcow2' }, 43);
    } finally {
      Frees.prototype.add = add;
      Qcow2Image.prototype.indexMetadata = indexMetadata;
    }
  });
});
