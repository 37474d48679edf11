// One seeded run on a disk that is full, or nearly, and whose other user takes and gives back space at any time: a random chain, a random
// guest, at the end a close or power loss.
//
// What must hold, beyond what holds for every run: a write may be refused for lack of space, but what was answered has its space, so that no
// flush and no close ever fails for the lack of it, and nothing that was answered is lost.

import { Device } from '../../src/block/device.js';
import { Graph } from '../../src/block/graph.js';
import { openNode } from '../../src/block/open.js';
import { type FaultPlan, Random, type SimHost, SimPowerLoss } from '../../src/host/sim/index.js';
import { BlockError } from '../../src/util/errors.js';
import { checkFiles, expectValues, expectVerified, guarded, readImage } from './checks.js';
import { AFTERWARDS } from './faults.js';
import { Guest, type GuestDisk, randomHabits, Violation } from './guest.js';
import { buildChain, type Chain, randomChain } from './images.js';
import { GuestModel } from './model.js';
import { Resizes } from './resizes.js';

const PAGE = 4096;

export interface FullDiskStats {
  requests: number;
  /** Requests that were refused for lack of space. */
  refused: number;
  powerLosses: number;
  cleanEnds: number;
}

export interface FullDiskOptions {
  format?: 'raw' | 'qcow2';
  /** Called with the host that is about to run: to look at, or to plant faults. */
  inspect?: (host: SimHost) => void;
}

/** Runs one seed. Rejects with the seed in the message where something does not hold. */
export function runFullDisk(seed: number, options: FullDiskOptions = {}): Promise<FullDiskStats> {
  return guarded(seed, async () => {
    const random = new Random(seed, 20);
    let value = 0;
    const nextValue = (): number => ++value;
    const chain = randomChain(random, { format: options.format ?? (random.chance(0.9) ? 'qcow2' : 'raw') });
    let host = await buildChain(chain, random, nextValue);
    const model = new GuestModel(chain.contents[chain.contents.length - 1]);
    const stats: FullDiskStats = { requests: 0, refused: 0, powerLosses: 0, cleanEnds: 0 };
    const rounds = random.between(1, 2);
    const sizes = new Random(seed, 21);
    for (let i = 0; i < rounds; i++) host = await round(host, chain, model, random, sizes, nextValue, stats, options);
    return stats;
  });
}

async function round(
  before: SimHost,
  chain: Chain,
  model: GuestModel,
  random: Random,
  sizes: Random,
  nextValue: () => number,
  stats: FullDiskStats,
  options: FullDiskOptions,
): Promise<SimHost> {
  const faults: FaultPlan = { lateProbability: random.pick([0, 0.02]) };
  if (random.chance(0.5)) faults.powerLossAt = random.between(20, random.pick([300, 1200]));
  const unsupported = random.pick([[], [], ['seek'], ['allocate'], ['allocate', 'zeroRange', 'punchHole']] as const);
  if (random.chance(0.5)) for (const path of before.files()) makeSparse(before, path);
  const capacity = before.used + random.below(random.pick([4, 16, 64])) * PAGE;
  const host = before.fork({ seed: random.next(), eager: false, faults, capacity, unsupported });
  options.inspect?.(host);
  const resizes = new Resizes(model, chain.contents[chain.contents.length - 2] ?? []);
  let lost = false;
  try {
    await host.run(session(host, chain, model, random, sizes, resizes, nextValue, stats));
    stats.cleanEnds++;
  } catch (error) {
    if (!(error instanceof SimPowerLoss)) throw error;
    lost = true;
    stats.powerLosses++;
  }
  stats.requests += host.requests;
  const after = lost ? host.crash(AFTERWARDS) : host.fork(AFTERWARDS);
  checkFiles(after, true);
  const content = await readImage(after, chain.options, true);
  expectVerified(after, chain.layers[chain.layers.length - 1].path, content);
  resizes.found(content.length);
  const allowed = (sector: number): readonly number[] =>
    lost ? model.allowedAfterCrash(sector) : model.allowedNow(sector);
  model.settle(expectValues(content, model.sectors, lost ? 'after power loss' : 'after close', allowed));
  return after;
}

/** As a sparse copy would: each page of zeroes is a hole, in tables too. */
function makeSparse(host: SimHost, path: string): void {
  const content = host.readFile(path);
  host.resizeFile(path, 0);
  for (let at = 0; at < content.length; at += PAGE) {
    const page = content.subarray(at, at + PAGE);
    if (!host.memory.isZero(page)) host.patchFile(path, at, page);
  }
  host.resizeFile(path, content.length);
}

async function session(
  host: SimHost,
  chain: Chain,
  model: GuestModel,
  random: Random,
  sizes: Random,
  resizes: Resizes,
  nextValue: () => number,
  stats: FullDiskStats,
): Promise<void> {
  const graph = new Graph(host);
  const node = await openNode(graph, chain.options);
  const device = new Device(node, { name: 'guest', writable: true });
  const guest = new Guest({
    habits: randomHabits(random, chain.layers[chain.layers.length - 1].clusterSize),
    random,
    model,
    disk: strict(device),
    expectedErrors: new Set(['no-space']),
    nextValue,
    async think() {
      // The other user: it takes all that is left, or gives some back.
      if (random.chance(0.1)) host.setCapacity(host.used + (random.chance(0.6) ? 0 : random.below(24) * PAGE));
    },
  });
  await guest.run(random.pick([40, 120, 250]), random.pick([1, 2, 4, 8]));
  const { format } = chain.layers[chain.layers.length - 1];
  for (let left = format === 'qcow2' && sizes.chance(0.4) ? sizes.between(1, 4) : 0; left > 0; left--) {
    await resizes.random(device, sizes).catch((error: unknown) => {
      if (!(error instanceof BlockError) || error.code !== 'no-space') throw error;
      stats.refused++;
    });
    await guest.run(sizes.below(60), sizes.pick([1, 4]));
  }
  stats.refused += guest.failures;
  await device.close();
  const issued = model.beginFlush();
  await graph.closeAll();
  model.endFlush(issued);
  resizes.known();
  if (host.memory.liveBuffers > 0)
    throw new Violation('buffers', `${host.memory.liveBuffers} buffers were not given back`);
}

/** A disk whose reads and flushes need no space, so that they must not fail. */
function strict(disk: GuestDisk): GuestDisk {
  const need = async (request: Promise<void>, what: string): Promise<void> => {
    await request.catch((error: unknown) => {
      throw new Violation('refused', `${what} failed: ${(error as Error).stack ?? error}`, { cause: error });
    });
  };
  return {
    length: disk.length,
    read: (offset, buffer) => need(disk.read(offset, buffer), 'read'),
    write: (offset, buffer) => disk.write(offset, buffer),
    writeZeroes: (offset, length, flags) => disk.writeZeroes(offset, length, flags),
    discard: (offset, length) => disk.discard(offset, length),
    flush: () => need(disk.flush(), 'flush'),
  };
}
