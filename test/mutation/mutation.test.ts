// Malformed images: seeded mutations of everything that the format's metadata says, and cuts of the file. Whatever an image holds, a user's action ends
// soon, in little memory, with a result or with one clear error; a repair leaves nothing wrong; and `info` opens nothing but the file that was named.

import { expect } from 'chai';
import type { SimHost } from '../../src/host/sim/index.js';
import { BlockError } from '../../src/util/errors.js';
import type { MadeMutant, MutantKind } from '../formats/fixture.js';
import { FORMATS } from '../formats/index.js';
import { seeded } from '../interop/chain-maker.js';
import { SOAK, seedsOf, spanOf, timeLimit } from '../support/sample.js';
import { type Actions, exercise, type Outcome } from './exercise.js';
import { DATA, graphWith, IMAGE } from './images.js';
import { mutate } from './mutate.js';

/** Each mutant gets all that can be done to it. */
const ALL = SOAK || seedsOf({ fixed: 2, soak: 2 }).length === 1;
const MEMORY_LIMIT_BYTES = 256 << 20;
/** A header may ask for that much of the processor for one password. */
const DERIVATION_LIMIT_MS = 10_000;
/** More iterations are not done here, but counted: no password opens the image then. */
const DERIVED_ITERATIONS = 20_000;
/** One mutant of so many is of each costly kind. */
const EACH_COSTLY = 100;
const MS_PER_ITERATION = 0.0005;

/** Derives keys for the few iterations that our own images ask for; of others, it says what time they would take. */
function limitDerivation(host: SimHost): void {
  const { ciphers } = host;
  const derive = ciphers.derive.bind(ciphers);
  ciphers.derive = async (hash, password, salt, iterations, key) => {
    const tookMs = iterations * MS_PER_ITERATION;
    expect(tookMs, 'time of a key derivation').to.be.at.most(DERIVATION_LIMIT_MS);
    if (iterations <= DERIVED_ITERATIONS) await derive(hash, password, salt, iterations, key);
    return tookMs;
  };
}

/** Of a costly kind there are few. */
function kindOf(kinds: readonly MutantKind[], seed: number): number {
  const costly = kinds.flatMap((kind, i) => (kind.costly ? [i] : []));
  const others = kinds.flatMap((kind, i) => (kind.costly ? [] : [i]));
  return costly[seed % EACH_COSTLY] ?? others[seed % others.length];
}

/** The most memory that the process has had so far, in bytes. */
function peakBytes(): number {
  return process.resourceUsage().maxRSS * 1024;
}

async function run(seed: number, kind: MutantKind, { files, places }: MadeMutant, actions: Actions): Promise<Outcome> {
  const choose = seeded(seed);
  const mutant = new Map([...files, [IMAGE, mutate(files.get(IMAGE)!, { places, byteOrder: kind.byteOrder }, choose)]]);
  if (kind.data && choose(4) === 0) {
    // The disk apart from its header has no metadata, but may have lost its end.
    const disk = files.get(DATA)!;
    mutant.set(DATA, disk.subarray(0, choose(disk.length)));
  }
  const { host, graph } = await graphWith(mutant);
  limitDerivation(host);
  try {
    return await exercise(host, graph, kind, { ...actions, repairs: actions.repairs && kind.repairs });
  } finally {
    await graph.closeAll().catch((error) => expect(error).to.be.instanceOf(BlockError));
  }
}

for (const { name, mutants: kinds, mutantCounts } of FORMATS) {
  if (kinds.length === 0) continue;
  const SEEDS = seedsOf({ first: 1, ...(mutantCounts ?? { fixed: 1000, soak: 20_000 }) });
  describe(`malformed images of ${name}`, function () {
    this.timeout(timeLimit(300_000));
    let images: MadeMutant[];

    before(async () => {
      images = [];
      for (const kind of kinds) images.push(await kind.make());
    });

    it('are sound before they are mutated', async () => {
      for (const [i, kind] of kinds.entries()) {
        const { host, graph } = await graphWith(images[i].files);
        const outcome = await exercise(host, graph, kind, { writes: true, repairs: kind.repairs });
        expect([outcome.opened, outcome.repaired], kind.name).to.deep.equal([true, kind.repairs]);
        await graph.closeAll();
      }
    });

    it(`end with one clear error, or right data, in bounded time and memory (${spanOf(SEEDS)})`, async () => {
      const counts = kinds.map(({ name }) => ({ name, mutants: 0, opened: 0, repaired: 0 }));
      const slowest = { seed: 0, ms: 0 };
      const largest = { seed: 0, bytes: 0 };
      const failures: string[] = [];
      for (const seed of SEEDS) {
        const which = kindOf(kinds, seed);
        // A run of few writes to a third of them, and repairs another third. A seed that is given does all, as a long run did.
        const actions = { writes: ALL || seed % 3 === 0, repairs: ALL || seed % 3 === 1 };
        const context = `seed ${seed}, ${kinds[which].name}`;
        const before = { resident: process.memoryUsage.rss(), peak: peakBytes() };
        const outcome = await run(seed, kinds[which], images[which], actions).catch((error: Error) => {
          failures.push(`${context}: ${error.stack}`);
        });
        const bytes = peakBytes() > before.peak ? peakBytes() - before.resident : 0;
        if (bytes >= MEMORY_LIMIT_BYTES) failures.push(`${context}: ${bytes} bytes of memory`);
        if (outcome === undefined) continue;
        if (outcome.slowestMs > slowest.ms) Object.assign(slowest, { seed, ms: outcome.slowestMs });
        if (bytes > largest.bytes) Object.assign(largest, { seed, bytes });
        counts[which].mutants++;
        if (outcome.opened) counts[which].opened++;
        if (outcome.repaired) counts[which].repaired++;
      }
      expect(failures.join('\n')).to.equal('');
      if (!ALL) return;
      console.log(`      slowest ${JSON.stringify(slowest)}, largest ${JSON.stringify(largest)}`);
      for (const { name, mutants, opened, repaired } of counts) {
        console.log(`      ${name}: ${mutants} mutants, ${opened} open, ${repaired} repaired`);
      }
    });
  });
}
