// One seeded run with persistent bitmaps: an image, a guest that writes to it, and a user who adds, removes, clears, enables, disables and merges bitmaps and
// resizes the disk; faults, power loss at any request, and what must hold afterwards. Several rounds, each on what the last one left.
//
// What must hold, beside what holds of every image (scenario.ts): a bitmap that is not marked as in use is right (bitmap-model.ts); one that was added is there,
// one that was removed is not; after a clean end, none is marked and each is as it was in memory.

import { Device, rootOf } from '../../src/block/device.js';
import { Graph } from '../../src/block/graph.js';
import type { BlockNode } from '../../src/block/node/node.js';
import { openNode } from '../../src/block/open.js';
import { type FaultPlan, Random, type SimHost, SimPowerLoss } from '../../src/host/sim/index.js';
import { BlockError } from '../../src/util/errors.js';
import { addStoredBitmap, mergeBitmaps, removeStoredBitmap } from '../../src/workspace/bitmap.js';
import { BitmapModel } from './bitmap-model.js';
import { checkFiles, expectValues, expectVerified, guarded, readImage } from './checks.js';
import { AFTERWARDS, FAULT_ERRORS, NO_ERRORS, randomDisk, randomResizeRule, randomRule } from './faults.js';
import { Guest, type GuestDisk, randomHabits, Violation } from './guest.js';
import { buildChain, type Chain, randomChain } from './images.js';
import { LocatedDisk } from './located-disk.js';
import { decodeSectors, GuestModel, SECTOR } from './model.js';
import { Resizes } from './resizes.js';
import { verifyQcow2 } from './verify-qcow2.js';

export interface BitmapScenarioOptions {
  plant?: FaultPlan;
  errors?: boolean;
}

export interface BitmapStats {
  powerLosses: number;
  cleanEnds: number;
  /** Bitmaps that were found after power loss: right, and marked. */
  right: number;
  marked: number;
}

type End = 'clean' | 'power loss' | 'failed';

class BitmapScenario {
  readonly stats: BitmapStats = { powerLosses: 0, cleanEnds: 0, right: 0, marked: 0 };
  private readonly random: Random;
  private readonly options: BitmapScenarioOptions;
  private readonly chain: Chain;
  private value = 0;
  private names = 0;
  private model = new GuestModel([]);
  private resizes = new Resizes(this.model, []);
  /** Bitmaps that are there, by name. */
  private bitmaps = new Map<string, BitmapModel>();
  /** Those that may be there or not: a change of the directory was under way, or failed. */
  private readonly unsure = new Set<string>();
  private readonly inconsistent = new Set<string>();
  private spotless = true;

  constructor(seed: number, options: BitmapScenarioOptions) {
    this.random = new Random(seed, 20);
    this.options = options;
    this.chain = randomChain(this.random, { format: 'qcow2' });
    const top = this.chain.layers[this.chain.layers.length - 1];
    top.version = 'v3';
  }

  private readonly nextValue = () => ++this.value;

  private get path(): string {
    return this.chain.layers[this.chain.layers.length - 1].path;
  }

  async run(): Promise<BitmapStats> {
    let host = await buildChain(this.chain, this.random, this.nextValue);
    this.model = new GuestModel(this.chain.contents[this.chain.contents.length - 1]);
    this.resizes = new Resizes(this.model, this.chain.contents[this.chain.contents.length - 2] ?? []);
    const rounds = this.random.between(1, 4);
    for (let i = 0; i < rounds; i++) host = await this.round(host);
    return this.stats;
  }

  private async round(before: SimHost): Promise<SimHost> {
    const { random } = this;
    const faulty = (this.options.errors ?? true) && random.chance(0.35);
    const faults: FaultPlan = { lateProbability: random.pick([0, 0, 0.02]), ...this.options.plant };
    if (random.chance(0.75)) faults.powerLossAt = random.between(5, random.pick([60, 300, 1200]));
    if (faulty) {
      faults.rules = [randomRule(random)];
      faults.failedFlushLoses = random.chance(0.5);
    }
    const host = before.fork({ seed: random.next(), eager: false, faults, ...randomDisk(random, faulty) });
    let end: End;
    try {
      end = await host.run(this.session(host, faulty, faults));
    } catch (error) {
      if (!(error instanceof SimPowerLoss)) throw error;
      end = 'power loss';
    }
    if (end === 'clean') this.stats.cleanEnds++;
    if (end === 'power loss') this.stats.powerLosses++;
    const stays = end !== 'power loss' && random.chance(0.5);
    const after = stays ? host.fork(AFTERWARDS) : host.crash(AFTERWARDS);
    await this.check(after, end);
    return after;
  }

  private async session(host: SimHost, faulty: boolean, faults: FaultPlan): Promise<End> {
    const { random, model } = this;
    const graph = new Graph(host);
    let failed = false;
    const tolerate = (error: unknown, may = faulty) => {
      if (!may || !(error instanceof BlockError) || !FAULT_ERRORS.has(error.code)) throw error;
      failed = true;
    };
    let node: BlockNode;
    try {
      node = await openNode(graph, this.chain.options);
    } catch (error) {
      tolerate(error);
      return 'failed';
    }
    this.adopt(node);
    const device = new Device(node, { name: 'guest', writable: true });
    const top = this.chain.layers[this.chain.layers.length - 1];
    const disk = this.noting(random.chance(0.5) ? new LocatedDisk(device, host) : device);
    const guest = new Guest({
      habits: randomHabits(random, top.clusterSize),
      random,
      model,
      disk,
      expectedErrors: faulty ? FAULT_ERRORS : NO_ERRORS,
      nextValue: this.nextValue,
    });
    for (let left = random.between(2, 14); left > 0; left--) {
      // Now and then, a change of bitmaps fails, and all goes on as if nothing had been.
      const fails = !faulty && (this.options.errors ?? true) && random.chance(0.15);
      if (fails) host.setFaults({ ...faults, rules: [randomResizeRule(random)] });
      try {
        await this.change(device);
      } catch (error) {
        tolerate(error, faulty || fails);
      } finally {
        if (fails) host.setFaults(faults);
      }
      await guest.run(random.pick([1, 4, 20]), random.pick([1, 2, 4, 8]));
      for (const bitmap of this.bitmaps.values()) bitmap.checkMemory();
      if (random.chance(0.4) && (await guest.flush())) this.resizes.known();
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
    if (host.memory.liveBuffers > 0) throw new Violation('buffers', `${host.memory.liveBuffers} buffers remain`);
    return failed || guest.failures > 0 ? 'failed' : 'clean';
  }

  /** The bitmaps as they were loaded. */
  private adopt(node: BlockNode): void {
    this.bitmaps = new Map();
    this.inconsistent.clear();
    for (const [name, bitmap] of node.bitmaps) {
      if (bitmap.inconsistent) this.inconsistent.add(name);
      else this.bitmaps.set(name, new BitmapModel(bitmap));
    }
  }

  /** Tells the models of what is written, and of flushes. */
  private noting(disk: GuestDisk): GuestDisk {
    const note = (offset: number, length: number, values: readonly number[]) => {
      for (const bitmap of this.bitmaps.values()) bitmap.wrote(offset / SECTOR, length / SECTOR, values);
    };
    return {
      get length() {
        return disk.length;
      },
      read: (offset, buffer) => disk.read(offset, buffer),
      write: (offset, buffer) => {
        note(offset, buffer.length, decodeSectors(buffer));
        return disk.write(offset, buffer);
      },
      writeZeroes: (offset, length, flags) => {
        note(offset, length, []);
        return disk.writeZeroes(offset, length, flags);
      },
      discard: (offset, length) => {
        note(offset, length, []);
        return disk.discard(offset, length);
      },
      flush: async () => {
        const issued = [...this.bitmaps.values()].map((bitmap) => [bitmap, bitmap.issueFlush()] as const);
        await disk.flush();
        for (const [bitmap, span] of issued) bitmap.flushed(span);
      },
    };
  }

  /** A change of the bitmaps, or of the size. Nothing else is under way. */
  private async change(device: Device): Promise<void> {
    const { random } = this;
    const { node } = rootOf(device);
    const kind = random.pick(['add', 'add', 'remove', 'clear', 'toggle', 'merge', 'merge', 'resize', 'none'] as const);
    if (kind === 'add' && this.bitmaps.size < 5) return this.add(node);
    if (kind === 'remove') return this.remove(node);
    if (kind === 'resize') return this.resize(device);
    const all = [...this.bitmaps.values()];
    if (all.length === 0 || kind === 'none') return;
    const one = random.pick(all);
    if (kind === 'clear') one.bitmap.clear();
    else if (kind === 'merge') mergeBitmaps(one.bitmap, [random.pick(all).bitmap]);
    else if (one.bitmap.enabled) one.bitmap.disable();
    else one.bitmap.enable();
    one.begin();
  }

  private async add(node: BlockNode): Promise<void> {
    const { random } = this;
    const name = `b${this.names++}${'x'.repeat(random.pick([0, 0, 3, 30]))}`;
    this.unsure.add(name);
    const granularity = random.pick([512, 512, 1024, 4096, 65536, 2 ** 31]);
    const bitmap = await addStoredBitmap(node, name, { granularity, persistent: true, enabled: random.chance(0.8) });
    this.unsure.delete(name);
    this.bitmaps.set(name, new BitmapModel(bitmap));
  }

  private async remove(node: BlockNode): Promise<void> {
    const broken = [...this.inconsistent];
    const names = broken.length > 0 && this.random.chance(0.7) ? broken : [...this.bitmaps.keys()];
    if (names.length === 0) return;
    const name = this.random.pick(names);
    this.unsure.add(name);
    await removeStoredBitmap(node, name);
    this.unsure.delete(name);
    this.bitmaps.delete(name);
    this.inconsistent.delete(name);
  }

  private async resize(device: Device): Promise<void> {
    const { random } = this;
    if (this.inconsistent.size > 0) return;
    try {
      await this.resizes.random(device, random);
    } finally {
      // After a failure the disk may have either size, until the next flush.
      for (const bitmap of this.bitmaps.values()) bitmap.begin();
    }
  }

  /** What must hold of the files that a round left. Adopts what they hold. */
  private async check(host: SimHost, end: End): Promise<void> {
    if (end !== 'clean') this.spotless = false;
    const { model } = this;
    checkFiles(host, !this.spotless);
    const content = await readImage(host, this.chain.options, !this.spotless);
    expectVerified(host, this.path, content);
    this.resizes.found(content.length);
    const values = expectValues(content, model.sectors, `after ${end}`, (sector) =>
      end === 'clean' ? model.allowedNow(sector) : model.allowedAfterCrash(sector),
    );
    this.checkBitmaps(host, end, content.length, values);
    model.settle(values);
  }

  private checkBitmaps(host: SimHost, end: End, size: number, values: readonly number[]): void {
    const found = new Map(verifyQcow2(host.readFile(this.path)).bitmaps.map((one) => [one.name, one]));
    for (const [name, bitmap] of this.bitmaps) {
      const stored = found.get(name);
      if (end === 'clean') bitmap.checkStored(stored);
      else if (stored !== undefined) bitmap.checkDisk(stored, size, values);
      else if (!this.unsure.has(name)) throw new Violation('bitmap', `bitmap '${name}' is lost`);
    }
    for (const [name, { inUse }] of found) {
      if (end !== 'clean') this.stats[inUse ? 'marked' : 'right']++;
      const known = this.bitmaps.has(name) || this.inconsistent.has(name) || this.unsure.has(name);
      if (!known) throw new Violation('bitmap', `bitmap '${name}' is there, and was removed`);
    }
    for (const name of this.inconsistent) {
      if (found.get(name)?.inUse === false) throw new Violation('bitmap', `bitmap '${name}' was inconsistent`);
      if (!found.has(name) && !this.unsure.has(name)) throw new Violation('bitmap', `bitmap '${name}' is lost`);
    }
  }
}

/** Runs one scenario. Rejects with the seed in the message where something does not hold. */
export function runBitmapScenario(seed: number, options: BitmapScenarioOptions = {}): Promise<BitmapStats> {
  return guarded(seed, () => new BitmapScenario(seed, options).run());
}
