// One seeded run: a random chain of images, a random guest that writes to the top one, faults, power loss at any request, and
// what must hold afterwards. Several rounds, each on what the last one left.
//
//   build (eager) -> [ open, guest I/O with faults, close or power loss -> check what is left -> adopt it ] x rounds
//
// What must hold: every image opens; its metadata contradicts nothing and at worst leaks clusters (none after a clean run); each
// sector holds the last flushed value or one written since; backing files are as they were; buffers are all given back.

import { Device } from '../../src/block/device.js';
import type { BlockNode } from '../../src/block/node/node.js';
import { openNode } from '../../src/block/open.js';
import { type FaultPlan, Random, type SimHost, SimPowerLoss } from '../../src/host/sim/index.js';
import { BlockError } from '../../src/util/errors.js';
import { checkFiles, expectValues, expectVerified, guarded, readImage, repairTop } from './checks.js';
import { AFTERWARDS, FAULT_ERRORS, NO_ERRORS, randomDisk, randomResizeRule, randomRule } from './faults.js';
import { Guest, randomHabits, Violation } from './guest.js';
import {
  buildChain,
  type Chain,
  type ChainLimits,
  graphOn,
  type Layer,
  randomChain,
  simulatedFormat,
} from './images.js';
import { LocatedDisk } from './located-disk.js';
import { GuestModel } from './model.js';
import { Resizes } from './resizes.js';

export interface ScenarioOptions extends ChainLimits {
  /** Adds to the faults of every round: tests of the tests. */
  plant?: FaultPlan;
  /** Without it, errors are injected in a third of the rounds. */
  errors?: boolean;
  /** More rounds, each of which loses power early: in the first commits of an image that was just opened. */
  dense?: boolean;
  /** Called with each host that is about to run: to look at, or to log. */
  inspect?: (host: SimHost, chain: Chain) => void;
}

export interface ScenarioStats {
  requests: number;
  powerLosses: number;
  cleanEnds: number;
  failedRounds: number;
}

const DENSE_ROUNDS = 8;

interface Round {
  faults: FaultPlan;
  /** Errors may come. */
  faulty: boolean;
}

class Scenario {
  readonly stats: ScenarioStats = { requests: 0, powerLosses: 0, cleanEnds: 0, failedRounds: 0 };
  private readonly random: Random;
  private readonly options: ScenarioOptions;
  private readonly chain: Chain;
  /** The guest sends its requests as an export does. */
  private readonly located: boolean;
  private value = 0;
  private model = new GuestModel([]);
  private resizes = new Resizes(this.model, []);
  /** Decides on changes of the size. */
  private readonly sizes: Random;
  /** Of this round. */
  private faults: FaultPlan = {};
  private original = new Map<string, Uint8Array>();
  /** No round so far lost power or met an error, so nothing may leak. */
  private spotless = true;

  constructor(seed: number, options: ScenarioOptions) {
    this.random = new Random(seed, 10);
    this.options = options;
    this.chain = randomChain(this.random, options);
    this.located = new Random(seed, 11).chance(0.5);
    this.sizes = new Random(seed, 12);
  }

  private readonly nextValue = () => ++this.value;

  async run(): Promise<ScenarioStats> {
    let host = await buildChain(this.chain, this.random, this.nextValue);
    this.model = new GuestModel(this.chain.contents[this.chain.contents.length - 1]);
    this.resizes = new Resizes(this.model, this.chain.contents[this.chain.contents.length - 2] ?? []);
    for (const path of this.backingPaths()) this.original.set(path, host.readFile(path));
    await this.check(host, 'clean');
    const rounds = this.options.dense ? DENSE_ROUNDS : this.random.between(1, 3);
    for (let i = 0; i < rounds; i++) host = await this.round(host);
    return this.stats;
  }

  private backingPaths(): string[] {
    return this.chain.layers.slice(0, -1).map((layer) => layer.path);
  }

  private plan(): Round {
    const { random } = this;
    const faulty = (this.options.errors ?? true) && random.chance(0.35);
    const faults: FaultPlan = { lateProbability: random.pick([0, 0, 0.02]), ...this.options.plant };
    if (this.options.dense) faults.powerLossAt = random.between(5, 120);
    else if (random.chance(0.75)) faults.powerLossAt = random.between(5, random.pick([60, 300, 1200]));
    if (faulty) {
      faults.rules = [randomRule(random)];
      faults.failedFlushLoses = random.chance(0.5);
    }
    return { faults, faulty };
  }

  private async round(before: SimHost): Promise<SimHost> {
    const { random } = this;
    const { faults, faulty } = this.plan();
    this.faults = faults;
    const host = before.fork({ seed: random.next(), eager: false, faults, ...randomDisk(random, faulty) });
    this.options.inspect?.(host, this.chain);
    let end: 'clean' | 'power loss' | 'failed';
    try {
      end = await host.run(this.session(host, faulty));
    } catch (error) {
      if (!(error instanceof SimPowerLoss)) throw error;
      end = 'power loss';
    }
    this.stats.requests += host.requests;
    if (end === 'clean') this.stats.cleanEnds++;
    else if (end === 'failed') this.stats.failedRounds++;
    else this.stats.powerLosses++;
    const stays = end !== 'power loss' && random.chance(0.5);
    const after = stays ? host.fork(AFTERWARDS) : host.crash(AFTERWARDS);
    await this.check(after, end);
    return after;
  }

  /** One life of the process: open, I/O, close. */
  private async session(host: SimHost, faulty: boolean): Promise<'clean' | 'failed'> {
    const { random, model } = this;
    const graph = await graphOn(host);
    let failed = false;
    const tolerate = (error: unknown) => {
      if (!faulty || !(error instanceof BlockError) || !FAULT_ERRORS.has(error.code)) throw error;
      failed = true;
    };
    let node: BlockNode;
    try {
      node = await openNode(graph, this.chain.options);
    } catch (error) {
      tolerate(error);
      return 'failed';
    }
    const device = new Device(node, { name: 'guest', writable: true });
    const top = this.chain.layers[this.chain.layers.length - 1];
    const guest = new Guest({
      habits: randomHabits(random, top.clusterSize),
      random,
      model,
      disk: this.located ? new LocatedDisk(device, host) : device,
      expectedErrors: faulty ? FAULT_ERRORS : NO_ERRORS,
      nextValue: this.nextValue,
    });
    await guest.run(random.pick([20, 60, 200]), random.pick([1, 2, 4, 8]));
    for (let left = this.resizesOf(top); left > 0; left--) {
      failed = (await this.resize(host, device, faulty)) || failed;
      if (this.sizes.chance(0.5) && (await guest.flush())) this.resizes.known();
      await guest.run(this.sizes.below(60), this.sizes.pick([1, 4]));
    }
    await device.close();
    const issued = model.beginFlush();
    try {
      await graph.closeAll();
      model.endFlush(issued);
      this.resizes.known();
    } catch (error) {
      tolerate(error);
    }
    if (host.memory.liveBuffers > 0)
      throw new Violation('buffers', `${host.memory.liveBuffers} buffers were not given back`);
    return failed || guest.failures > 0 ? 'failed' : 'clean';
  }

  /** Changes the size, with a fault of its own now and then, after which all goes on as if nothing had been. True where it failed. */
  private async resize(host: SimHost, device: Device, faulty: boolean): Promise<boolean> {
    const { sizes } = this;
    const fails = !faulty && (this.options.errors ?? true) && sizes.chance(0.6);
    if (fails) host.setFaults({ ...this.faults, rules: [randomResizeRule(sizes)] });
    try {
      await this.resizes.random(device, sizes);
      return false;
    } catch (error) {
      const tolerated = (faulty || fails) && error instanceof BlockError && FAULT_ERRORS.has(error.code);
      if (!tolerated) throw error;
      return true;
    } finally {
      if (fails) host.setFaults(this.faults);
    }
  }

  /** How often the size changes in one life. That of a raw file is not durable before the next flush. */
  private resizesOf({ format }: Layer): number {
    return format === 'qcow2' && this.sizes.chance(0.4) ? this.sizes.between(1, 4) : 0;
  }

  /** What must hold of the files that a round left. Adopts what they hold. */
  private async check(host: SimHost, end: 'clean' | 'power loss' | 'failed'): Promise<void> {
    if (end !== 'clean') this.spotless = false;
    for (const [path, content] of this.original) {
      if (Buffer.compare(content, host.readFile(path)) !== 0) throw new Violation('changed', `${path} was changed`);
    }
    const { model } = this;
    const top = this.chain.layers[this.chain.layers.length - 1];
    const drawn = simulatedFormat(top.format);
    if (drawn?.repairs && !this.spotless) await repairTop(host, this.chain.options);
    checkFiles(host, !this.spotless);
    const content = await readImage(host, this.chain.options, !this.spotless);
    if (drawn === undefined) expectVerified(host, top.path, content);
    this.resizes.found(content.length);
    const values = expectValues(content, model.sectors, `after ${end}`, (sector) =>
      end === 'clean' ? model.allowedNow(sector) : model.allowedAfterCrash(sector),
    );
    model.settle(values);
  }
}

/** Runs one scenario. Rejects with the seed in the message where something does not hold. */
export function runScenario(seed: number, options: ScenarioOptions = {}): Promise<ScenarioStats> {
  return guarded(seed, () => new Scenario(seed, options).run());
}
