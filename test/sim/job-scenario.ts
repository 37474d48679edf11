// One seeded run of one job: a random chain, guests that write meanwhile, verbs at random moments, faults, power loss.
//
//   build (eager) -> open chain and target -> guests || job || verbs -> close or power loss -> check
//
// What must hold: no image contradicts itself; the node that the guests were attached to last (the top, or after a pivot the
// target) holds what the guests must see, whatever became of the job; images that are not the job's stay as they were, byte for byte;
// a job that said it succeeded has left what it promised, on the disk.

import { DirtyBitmap } from '../../src/block/bitmap.js';
import { chainOf } from '../../src/block/chain.js';
import { Device, rootOf } from '../../src/block/device.js';
import { Graph } from '../../src/block/graph.js';
import type { BlockNode } from '../../src/block/node/node.js';
import { openNode } from '../../src/block/open.js';
import { type FaultPlan, Random, type SimHost, SimPowerLoss } from '../../src/host/sim/index.js';
import { backupJob } from '../../src/jobs/backup.js';
import { commitJob } from '../../src/jobs/commit.js';
import type { Job } from '../../src/jobs/job.js';
import type { JobEnvironment } from '../../src/jobs/job-type.js';
import { JobManager } from '../../src/jobs/manager.js';
import { mirrorJob } from '../../src/jobs/mirror.js';
import { startJob } from '../../src/jobs/start.js';
import { streamJob } from '../../src/jobs/stream.js';
import type { ImageOptions } from '../../src/schema/options.js';
import { BlockError } from '../../src/util/errors.js';
import { checkFiles, expectValues, expectVerified, guarded, readImage } from './checks.js';
import { AFTERWARDS, FAULT_ERRORS, NO_ERRORS, randomDisk, randomRule } from './faults.js';
import { Guest, randomHabits, Violation } from './guest.js';
import { buildChain, type Chain, type Layer, makeImage, randomChain, randomLayer } from './images.js';
import { LocatedDisk } from './located-disk.js';
import { encodeSectors, GuestModel } from './model.js';
import { Resizer } from './resizer.js';
import { sleep, torment } from './torment.js';
import { verifyQcow2 } from './verify-qcow2.js';

export const JOB_KINDS = ['stream', 'commit-middle', 'commit-active', 'commit-empty', 'mirror', 'backup'] as const;
export type JobKind = (typeof JOB_KINDS)[number];

const BITMAP = 'bitmap0';

export interface JobScenarioOptions {
  kind?: JobKind;
  plant?: FaultPlan;
  /** Files can take part in the host's copy step. Default: by the seed. */
  moves?: boolean;
  inspect?: (host: SimHost, chain: Chain, kind: JobKind) => void;
}

export interface JobScenarioStats {
  kind: JobKind;
  requests: number;
  end: 'completed' | 'cancelled' | 'failed' | 'power loss';
}

class JobScenario {
  private readonly random: Random;
  private readonly kind: JobKind;
  private readonly options: JobScenarioOptions;
  private readonly chain: Chain;
  private readonly target: Layer | null;
  /** What mirror and backup copy. */
  private readonly sync: 'full' | 'top' | 'incremental';
  private readonly faulty: boolean;
  /** The guest sends its requests as an export does. */
  private readonly located: boolean;
  private model = new GuestModel([]);
  private value = 0;
  /** File that holds what the guests see. */
  private live: () => string = () => this.top.path;
  /** Content that the target must have, by sector, once the job has said that it succeeded. */
  private promised: readonly (readonly number[])[] | null = null;
  /** Backing file that the top must name once a stream has said that it succeeded. */
  private promisedBacking: string | null | undefined;
  /** The top must be empty. */
  private promisedEmpty = false;
  /** Layers that the job may change. */
  private readonly mutable = new Set<string>();
  /** A guest that makes its disk longer while a job starts: how long it is at least, at most, whatever happens. */
  private readonly resizer: Resizer | null;
  private readonly moves: boolean;
  private outcome: 'completed' | 'cancelled' | 'failed' = 'failed';
  private guestFailures = 0;

  constructor(seed: number, options: JobScenarioOptions) {
    this.random = new Random(seed, 20);
    this.options = options;
    this.kind = options.kind ?? this.random.pick(JOB_KINDS);
    this.chain = randomChain(this.random, { format: 'qcow2', depth: this.depth() });
    // The base takes the top's place: a pivot needs the size to be the guest's; a commit makes a base longer, never shorter.
    if (this.kind === 'commit-active') for (const layer of this.chain.layers) layer.sectors = this.top.sectors;
    this.sync = this.randomSync();
    this.target = this.kind === 'mirror' || this.kind === 'backup' ? this.randomTarget() : null;
    this.faulty = this.random.chance(0.3);
    this.located = new Random(seed, 21).chance(0.5);
    const resizing = new Random(seed, 22);
    this.resizer = resizing.chance(0.4) ? new Resizer(resizing) : null;
    this.moves = options.moves ?? new Random(seed, 23).chance(0.75);
  }

  private get top(): Layer {
    return this.chain.layers[this.chain.layers.length - 1];
  }

  private readonly nextValue = () => ++this.value;

  private depth(): number {
    if (this.kind === 'mirror' || this.kind === 'backup') return this.random.below(3);
    return this.kind === 'commit-middle' ? this.random.between(2, 3) : this.random.between(1, 3);
  }

  private randomSync(): 'full' | 'top' | 'incremental' {
    if (this.chain.layers.length > 1 && this.random.chance(0.3)) return 'top';
    return this.random.chance(0.3) ? 'incremental' : 'full';
  }

  private randomTarget(): Layer {
    const format = this.sync === 'top' ? 'qcow2' : this.random.pick(['qcow2', 'qcow2', 'raw'] as const);
    return { ...randomLayer(this.random, `/target.${format}`, format), sectors: this.top.sectors };
  }

  async run(): Promise<JobScenarioStats> {
    const { random } = this;
    let built = await buildChain(this.chain, random, this.nextValue);
    if (this.target !== null) {
      const maker = built.fork({ eager: true });
      await this.makeTarget(maker, this.target);
      built = maker.fork();
    }
    this.model = new GuestModel(this.chain.contents[this.chain.contents.length - 1]);
    const faults: FaultPlan = { lateProbability: random.pick([0, 0, 0.02]), ...this.options.plant };
    if (random.chance(0.6)) faults.powerLossAt = random.between(5, random.pick([100, 400, 1500]));
    if (this.faulty) {
      faults.rules = [randomRule(random)];
      faults.failedFlushLoses = random.chance(0.5);
    }
    const disk = randomDisk(random, this.faulty);
    if (!this.moves) disk.unsupported = [...(disk.unsupported ?? []), 'move'];
    const host = built.fork({ seed: random.next(), eager: false, faults, ...disk });
    this.options.inspect?.(host, this.chain, this.kind);
    const lost = await this.drive(host);
    const after = lost || random.chance(0.5) ? host.crash(AFTERWARDS) : host.fork(AFTERWARDS);
    await this.check(built, after, lost);
    return { kind: this.kind, requests: host.requests, end: lost ? 'power loss' : this.outcome };
  }

  private async makeTarget(host: SimHost, target: Layer): Promise<void> {
    const graph = new Graph(host);
    const { layers, contents } = this.chain;
    await makeImage(graph, target, this.sync === 'top' ? layers[layers.length - 2] : undefined);
    if (this.sync !== 'incremental') return;
    // An earlier full copy: the bitmap is clean from here on.
    const node = await openNode(graph, imageOptions(target.path));
    const device = new Device(node, { name: 'copy', writable: true });
    await device.write(0, encodeSectors(contents[contents.length - 1]));
    await device.close();
    await graph.closeAll();
  }

  /** A mirror gets the source's backing node at its end; a backup has its own. */
  private openTarget(graph: Graph, target: Layer): Promise<BlockNode> {
    const options = imageOptions(target.path);
    const alone = this.kind === 'mirror' && this.sync === 'top';
    return openNode(graph, options, alone ? { backing: false } : {});
  }

  /** True where the power was lost. */
  private async drive(host: SimHost): Promise<boolean> {
    try {
      await host.run(this.session(host));
      return false;
    } catch (error) {
      if (error instanceof SimPowerLoss) return true;
      throw error;
    }
  }

  /** An error that the faults explain. */
  private tolerate(error: unknown): void {
    if (!this.faulty || !(error instanceof BlockError) || !FAULT_ERRORS.has(error.code)) throw error;
  }

  private async session(host: SimHost): Promise<void> {
    const graph = new Graph(host);
    try {
      await this.work(host, graph);
    } catch (error) {
      if (!this.resizer?.explains(error)) this.tolerate(error);
      this.outcome = 'failed';
    }
    const issued = this.model.beginFlush();
    try {
      await graph.closeAll();
      this.model.endFlush(issued);
    } catch (error) {
      this.tolerate(error);
      this.outcome = 'failed';
    }
    if (host.memory.liveBuffers > 0)
      throw new Violation('buffers', `${host.memory.liveBuffers} buffers were not given back`);
  }

  private async work(host: SimHost, graph: Graph): Promise<void> {
    const { random } = this;
    const top = await openNode(graph, this.chain.options);
    const target = this.target === null ? null : await this.openTarget(graph, this.target);
    if (this.sync === 'incremental') {
      const bitmap = new DirtyBitmap({ name: BITMAP, size: top.length, granularity: 512 * 2 ** random.below(8) });
      top.bitmaps.set(BITMAP, bitmap);
    }
    if (this.kind === 'commit-empty') {
      await this.job(host, graph, top, target, null);
      return;
    }
    const device = new Device(top, { name: 'guest', writable: true });
    this.resizer?.plug(host, device, this.model, this.faulty ? FAULT_ERRORS : NO_ERRORS);
    this.live = () => rootOf(device).node.filename;
    const guests = new Guests(this.guestFor(host, device), random);
    try {
      if (this.kind === 'backup') await guests.some();
      else guests.start();
      await this.job(host, graph, top, target, guests);
      guests.start();
      await sleep(host, random.fraction() * 20);
      if (this.kind === 'backup' && this.sync === 'incremental') {
        await guests.stop();
        await this.job(host, graph, top, target, guests);
      }
    } finally {
      await guests.stop();
      this.guestFailures = guests.failures;
      const path = rootOf(device).node.filename;
      this.live = () => path;
      await device.close();
    }
  }

  private guestFor(host: SimHost, device: Device): (stopped: () => boolean) => Guest {
    const { random, model } = this;
    const habits = randomHabits(random, this.top.clusterSize);
    const pace = random.pick([0, 1, 10]);
    const disk = this.located ? new LocatedDisk(device, host) : device;
    return (stopped) =>
      new Guest({
        habits,
        random,
        model,
        disk,
        expectedErrors: this.faulty ? FAULT_ERRORS : NO_ERRORS,
        nextValue: this.nextValue,
        stopped,
        think: () => sleep(host, random.fraction() * pace),
      });
  }

  /** Starts the job and sees it through. */
  private async job(
    host: SimHost,
    graph: Graph,
    top: BlockNode,
    target: BlockNode | null,
    guests: Guests | null,
  ): Promise<void> {
    const { random } = this;
    const env: JobEnvironment = { graph, manager: new JobManager(host.clock) };
    const moment = this.kind === 'backup' ? this.snapshot() : null;
    this.promised = null;
    const resizing = this.resizer?.run();
    const job = await this.start(env, top, target).finally(() => resizing);
    if (this.kind === 'backup') guests!.start();
    let soft = false;
    const atReady = async () => {
      if (this.kind !== 'mirror' || random.chance(0.6) || soft) {
        if (!soft) await job.complete();
        return;
      }
      soft = true;
      await guests!.stop();
      job.cancel();
    };
    try {
      this.outcome = await torment({ host, random, job, mayCancel: random.chance(0.5), atReady });
    } catch (error) {
      this.tolerate(error);
      this.outcome = 'failed';
      return;
    }
    if (this.outcome !== 'completed') {
      this.promisedBacking = undefined;
      return;
    }
    if (this.kind === 'stream') this.promisedBacking = this.streamBase;
    if (this.kind === 'commit-empty') this.promisedEmpty = true;
    if (moment !== null) this.promised = moment;
    // Unless it was asked to complete before: then the target is what the guests write to.
    if (soft && this.live() === this.top.path) this.promised = this.snapshot();
  }
  private streamBase: string | null = null;

  private snapshot(): number[][] {
    return Array.from({ length: this.model.sectors }, (_, sector) => this.model.allowedNow(sector));
  }

  private async start(env: JobEnvironment, top: BlockNode, target: BlockNode | null): Promise<Job> {
    const { random } = this;
    const device = top.nodeName;
    const chain = chainOf(top);
    const speed = random.pick([0, 0, 100_000, 1_000_000]);
    const policy = random.pick(['report', 'report', 'stop', 'enospc'] as const);
    if (this.kind === 'stream') {
      const base = random.chance(0.5) ? undefined : random.pick(chain.slice(1));
      this.streamBase = base?.filename ?? null;
      return startJob(env, streamJob, { device, speed, 'base-node': base?.nodeName, 'on-error': policy });
    }
    if (this.kind === 'mirror') {
      return startJob(env, mirrorJob, {
        device,
        target: target!.nodeName,
        sync: this.sync,
        ...(this.sync === 'incremental' ? { bitmap: BITMAP } : {}),
        speed,
        granularity: random.chance(0.5) ? undefined : 512 * 2 ** random.below(8),
        'buf-size': random.pick([undefined, 4096, 65536]),
        'copy-mode': random.pick(['background', 'write-blocking'] as const),
        unmap: random.chance(0.7),
        'on-source-error': policy,
        'on-target-error': policy,
      });
    }
    if (this.kind === 'backup') {
      const compress = this.target!.format === 'qcow2' && random.chance(0.3);
      return startJob(env, backupJob, {
        device,
        target: target!.nodeName,
        sync: this.sync,
        ...(this.sync === 'incremental' ? { bitmap: BITMAP } : {}),
        speed,
        compress,
        'on-source-error': policy,
        'on-target-error': policy,
        'on-cbw-error': random.pick(['break-guest-write', 'break-snapshot'] as const),
      });
    }
    return this.startCommit(env, chain, { device, speed, 'on-error': policy });
  }

  private startCommit(
    env: JobEnvironment,
    chain: readonly BlockNode[],
    common: { device: string; speed: number; 'on-error': 'report' | 'stop' | 'enospc' },
  ): Promise<Job> {
    const { random } = this;
    const first = this.kind === 'commit-middle' ? random.between(1, chain.length - 2) : 0;
    const base = this.kind === 'commit-empty' ? 1 : random.between(first + 1, chain.length - 1);
    // The overlay of what is committed gets another backing file in its header.
    for (const node of chain.slice(Math.max(0, first - 1), base + 1)) this.mutable.add(node.filename);
    return startJob(env, commitJob, {
      ...common,
      'top-node': chain[first].nodeName,
      'base-node': chain[base].nodeName,
      ...(this.kind === 'commit-empty' ? { empty: true } : {}),
    });
  }

  private async check(before: SimHost, after: SimHost, lost: boolean): Promise<void> {
    const clean = !lost && !this.faulty;
    checkFiles(after, !clean);
    for (const { path } of this.chain.layers.slice(0, -1)) {
      if (this.mutable.has(path)) continue;
      if (Buffer.compare(before.readFile(path), after.readFile(path)) !== 0)
        throw new Violation('changed', `${path} was changed`);
    }
    const { model } = this;
    const live = this.live();
    const content = await readImage(after, live === this.top.path ? this.chain.options : imageOptions(live), !clean);
    expectVerified(after, live, content);
    const settled = !lost && this.guestFailures === 0 && this.outcome !== 'failed';
    const whole = this.resizer?.fit(content, model, clean) ?? content;
    expectValues(whole, model.sectors, `${this.what(lost)}: guest's disk ${live}`, (sector) =>
      settled ? model.allowedNow(sector) : model.allowedAfterCrash(sector),
    );
    await this.checkPromises(after, lost);
  }

  private what(lost: boolean): string {
    return `${this.kind}, ${lost ? 'power loss' : this.outcome}`;
  }

  private async checkPromises(after: SimHost, lost: boolean): Promise<void> {
    const { promised } = this;
    if (promised !== null && this.target !== null) {
      const content = await readImage(after, imageOptions(this.target.path), true);
      expectValues(content, promised.length, `${this.what(lost)}: target`, (sector) => promised[sector]);
    }
    const report = verifyQcow2(after.readFile(this.top.path));
    if (this.promisedBacking !== undefined && report.backingFile !== this.promisedBacking) {
      throw new Violation(
        'promise',
        `${this.what(lost)}: the top names ${report.backingFile}, not ${this.promisedBacking}`,
      );
    }
    if (this.promisedEmpty && report.clusters.some(({ kind }) => kind !== 'unallocated')) {
      throw new Violation('promise', `${this.what(lost)}: the top is not empty`);
    }
  }
}

/** Starts and stops guests. */
class Guests {
  private readonly make: (stopped: () => boolean) => Guest;
  private readonly random: Random;
  private running: { stop(): void; guest: Guest; done: Promise<void> } | null = null;
  failures = 0;

  constructor(make: (stopped: () => boolean) => Guest, random: Random) {
    this.make = make;
    this.random = random;
  }

  start(): void {
    if (this.running !== null) return;
    let stopped = false;
    const guest = this.make(() => stopped);
    const done = guest.run(this.random.pick([30, 150]), this.random.pick([1, 3, 6]));
    // Whoever stops it hears of it.
    done.catch(() => undefined);
    this.running = {
      guest,
      done,
      stop: () => {
        stopped = true;
      },
    };
  }

  async some(): Promise<void> {
    this.start();
    const { running } = this;
    this.running = null;
    await running!.done;
    this.failures += running!.guest.failures;
  }

  async stop(): Promise<void> {
    const { running } = this;
    this.running = null;
    if (running === null) return;
    running.stop();
    await running.done;
    this.failures += running.guest.failures;
  }
}

function imageOptions(path: string): ImageOptions {
  const file = { driver: 'file', filename: path } as const;
  return path.endsWith('.raw')
    ? { driver: 'raw', file, discard: 'unmap' }
    : { driver: 'qcow2', file, discard: 'unmap' };
}

/** Runs one job. Rejects with the seed in the message where something does not hold. */
export function runJobScenario(seed: number, options: JobScenarioOptions = {}): Promise<JobScenarioStats> {
  return guarded(seed, () => new JobScenario(seed, options).run());
}
