// A random life of one qcow2 image with internal snapshots, and a plain model of it: what the disk holds now, and at each snapshot. Every sector is filled
// with the number of the write that it came from. The image is read by the independent verifier, so that what the driver believes does not count.
//
// After power loss the disk and its list of snapshots are as the last change that was answered left them, or as the one under way would have; a write that no
// flush acknowledged may be lost, sector by sector. Snapshots that were there hold what they held.

import { createImage } from '../../src/block/create.js';
import { Graph } from '../../src/block/graph.js';
import type { InternalSnapshots } from '../../src/block/internal-snapshots.js';
import type { BlockNode } from '../../src/block/node/node.js';
import { openNode } from '../../src/block/open.js';
import { registerDrivers } from '../../src/drivers/index.js';
import { createSimHost, type FaultPlan, Random, type SimHost, type SimRequest } from '../../src/host/sim/index.js';
import type { PreallocMode } from '../../src/schema/generated/types.js';
import { BlockError } from '../../src/util/errors.js';
import { amendImage } from '../../src/workspace/amend.js';
import { Violation } from './guest.js';
import {
  differs,
  FIRST_OF_BASE,
  randomShape,
  SECTOR,
  type Sectors,
  type Shape,
  type State,
  settled,
} from './snapshot-model.js';
import { readClusters, verifyQcow2 } from './verify-qcow2.js';

const TOP = '/top.qcow2';
const BASE = '/base.raw';
const MAX_SNAPSHOTS = 6;

export class SnapshotRun {
  readonly seed: number;
  readonly shape: Shape;
  readonly random: Random;
  host: SimHost;
  graph!: Graph;
  node!: BlockNode;
  #state: State;
  /** What the change under way leads to; null: there is none. */
  #coming: State | null = null;
  /** What one that the disk failed would have led to: it is on the disk perhaps, until another change succeeds. */
  #failed: State | null = null;
  #next = 1;

  /** `fixed`: what the seed does not decide. */
  constructor(seed: number, extended?: boolean, fixed: Partial<Shape> = {}) {
    registerDrivers();
    this.seed = seed;
    this.random = new Random(seed, 91);
    this.shape = { ...randomShape(this.random, extended), ...fixed };
    this.host = createSimHost({ seed });
    this.#state = { sectors: this.#below(this.shape.sectors), snapshots: [] };
  }

  /** What the backing file, or nothing, gives `count` sectors. */
  #below(count: number): Sectors {
    return Array.from({ length: count }, (_, sector) => [this.#belowAt(sector)]);
  }

  #belowAt(sector: number): number {
    return sector < this.shape.backingSectors ? FIRST_OF_BASE + sector : 0;
  }

  async prepare(faults: FaultPlan = {}): Promise<void> {
    const { shape } = this;
    await this.host.run(async () => {
      const graph = new Graph(this.host);
      if (shape.backingSectors > 0) this.host.writeFile(BASE, this.#base());
      await createImage(graph, TOP, {
        driver: 'qcow2',
        size: shape.sectors * SECTOR,
        version: shape.version,
        'cluster-size': shape.clusterSize,
        'refcount-bits': shape.refcountBits,
        'extended-l2': shape.extended,
        preallocation: shape.preallocation,
        ...(shape.backingSectors > 0 ? { 'backing-file': BASE, 'backing-fmt': 'raw' } : {}),
      });
    });
    this.host = this.host.crash({ seed: this.seed, onRequest: this.#watch });
    await this.host.run(() => this.open());
    this.host.setFaults(faults);
  }

  /** The flush at which the power is lost, counted from now: what was written before it is volatile yet. */
  flushesLeft = Number.POSITIVE_INFINITY;

  readonly #watch = ({ operation }: SimRequest): { powerLoss: boolean } | undefined =>
    operation === 'flush' && --this.flushesLeft <= 0 ? { powerLoss: true } : undefined;

  #base(): Uint8Array {
    const base = new Uint8Array(this.shape.backingSectors * SECTOR);
    const words = new Uint32Array(base.buffer);
    for (let i = 0; i < this.shape.backingSectors; i++)
      words.fill(FIRST_OF_BASE + i, (i * SECTOR) / 4, ((i + 1) * SECTOR) / 4);
    return base;
  }

  async open(readOnly = false): Promise<void> {
    this.graph = new Graph(this.host);
    this.node = await openNode(this.graph, TOP, { format: 'qcow2', readOnly, discard: 'unmap' });
  }

  get #snapshots(): InternalSnapshots {
    return this.node.abilities.snapshots!;
  }

  /** Random changes, one after the other, but for writes beside a new snapshot. */
  async live(steps: number): Promise<void> {
    for (let i = 0; i < steps; i++) await this.step();
  }

  /** The image is compacted now and then. */
  compacts = false;

  async step(): Promise<void> {
    const { random } = this;
    if (this.compacts && random.chance(0.2)) return this.compact();
    if (this.amends && random.chance(0.1)) return this.amend();
    const { snapshots } = this.#state;
    const kind = random.pick([
      'write',
      'write',
      'write',
      'write',
      'zero',
      'unmap',
      'discard',
      'compressed',
      'flush',
      'create',
      'create',
      'apply',
      'delete',
      'resize',
      'empty',
      'reopen',
      'beside',
      'state',
    ] as const);
    switch (kind) {
      case 'flush':
        await this.#try(
          () => this.node.flush(),
          (state) => state,
        );
        return;
      case 'create':
        return snapshots.length < MAX_SNAPSHOTS ? this.create() : this.delete();
      case 'apply':
        return this.apply();
      case 'delete':
        return this.delete();
      case 'resize':
        return this.resize();
      case 'empty':
        if (random.chance(0.7)) return;
        await this.#try(
          () => this.node.makeEmpty(),
          ({ sectors, snapshots: list }) => ({ sectors: this.#below(sectors.length), snapshots: list }),
          true,
        );
        return;
      case 'reopen':
        if (!this.reopens) return;
        await this.graph.closeAll();
        this.#state.sectors = settled(this.#state.sectors);
        return this.open();
      case 'beside':
        return snapshots.length < MAX_SNAPSHOTS ? this.#writeBeside() : undefined;
      case 'state':
        return snapshots.length < MAX_SNAPSHOTS ? this.#saveState() : undefined;
      default:
        return this.#write(kind);
    }
  }

  /**
   * A change that makes everything before it durable, and leads from one state to another: where it fails, and where power is lost meanwhile, the image is
   * in either. It may be refused for the width of refcounts. False where it was not made.
   */
  async #try(action: () => Promise<unknown>, change: (state: State) => State, partly = false): Promise<boolean> {
    const old = this.#state;
    const next = change(old);
    this.#coming = next;
    try {
      await action();
    } catch (error) {
      if (!(error instanceof BlockError) || !['limit', 'io', 'no-space'].includes(error.code)) throw error;
      if (error.code === 'limit' && this.shape.refcountBits > 8) throw error;
      if (error.code !== 'limit') {
        this.uncertain = true;
        this.#failed = next;
      }
      this.#coming = null;
      if (partly) await this.#lookAtAll();
      return false;
    }
    this.#coming = null;
    this.#failed = null;
    this.#state = { sectors: settled(next.sectors), snapshots: next.snapshots };
    return true;
  }

  /** A change failed for the disk's sake. */
  uncertain = false;
  /** The image is closed and opened again now and then. */
  reopens = true;

  /** After a change that unmaps, and that failed: any sector may read as what lies below. */
  async #lookAtAll(): Promise<void> {
    const { sectors } = this.#state;
    for (const [i, values] of sectors.entries()) values.unshift(this.#belowAt(i), 0);
    await this.#look(0, sectors.length);
  }

  create(): Promise<void> {
    return this.#create(new Uint8Array(0));
  }

  async #create(vmState: Uint8Array, beside: (held: Sectors) => void = () => undefined): Promise<void> {
    const { snapshots } = this.#state;
    const id = String(Math.max(0, ...snapshots.map((one) => Number(one.id))) + 1);
    const name = `n${id}`;
    await this.#try(
      () => this.#snapshots.create({ name, vmStateSize: vmState.length }),
      ({ sectors, snapshots: list }) => {
        const held = settled(sectors);
        beside(held);
        return { sectors, snapshots: [...list, { id, name, sectors: held, vmState }] };
      },
    );
  }

  /** The machine's state is written in two parts, and a snapshot is made with it. */
  async #saveState(): Promise<void> {
    const { random } = this;
    const state = new Uint8Array(random.between(1, 40) * 300);
    for (let i = 0; i < state.length; i++) state[i] = (i * 13 + this.#next) & 0xff;
    const half = random.below(state.length);
    try {
      await this.#snapshots.writeVmState(0, state.subarray(0, half));
      await this.#snapshots.writeVmState(half, state.subarray(half));
    } catch (error) {
      if (error instanceof BlockError && (error.code === 'io' || error.code === 'no-space')) return;
      throw error;
    }
    await this.#create(state);
  }

  async apply(): Promise<void> {
    const { snapshots } = this.#state;
    if (snapshots.length === 0) return;
    const { id, sectors } = this.random.pick(snapshots);
    const next: State = { sectors: sectors.map((values) => [...values]), snapshots };
    const applied = await this.#try(
      () => this.#snapshots.apply(id),
      () => next,
    );
    if (!applied) return;
    // Which of several values the snapshot has is known now.
    this.#state.sectors = next.sectors;
    for (const [sector, values] of sectors.entries()) {
      if (values.length === 1) continue;
      await this.#look(sector, sector + 1);
      values.splice(0, values.length, this.#state.sectors[sector].at(-1)!);
    }
    this.#state.sectors = settled(this.#state.sectors);
  }

  /** By the file: an amend that is broken off may have changed it. */
  get #version(): number {
    return this.host.readFile(TOP)[7];
  }

  /** The image is amended now and then. */
  amends = false;

  /** Makes an image of version 3 one of version 2, and the other way round. */
  async amend(): Promise<void> {
    const { random, shape } = this;
    if (shape.extended) return;
    const down = this.#version === 3;
    const refcountBits = down ? 16 : random.pick([16, 16, 32, 64]);
    // The widths that it has on the way.
    if (refcountBits < shape.refcountBits && shape.refcountBits > 16) shape.refcountBits = 16;
    const amended = await this.#try(
      () => amendImage(this.node, { version: down ? 'v2' : 'v3', 'refcount-bits': refcountBits }),
      (state) => state,
    );
    if (amended) shape.refcountBits = refcountBits;
  }

  /** Gives unused space back, beside a few writes or none; perhaps it is cancelled. Whatever becomes of it, the image reads the same. */
  async compact(): Promise<void> {
    const { random } = this;
    const compact = this.node.abilities.compact!;
    const options = { dedupeBacking: this.shape.backingSectors > 0 && random.chance(0.5) };
    const writes = random.pick([0, 0, 1, 4]);
    let left = random.chance(0.15) ? random.below(6) : Number.POSITIVE_INFINITY;
    const control = {
      work: async <T>(_bytes: number, action: () => Promise<T>): Promise<T> => {
        if (left-- <= 0) throw new BlockError('cancelled', 'enough');
        return action();
      },
      expect: () => undefined,
    };
    const failed = (error: unknown): null => {
      if (!(error instanceof BlockError) || !['io', 'no-space', 'cancelled'].includes(error.code)) throw error;
      if (error.code !== 'cancelled') this.uncertain = true;
      return null;
    };
    const planning = { work: <T>(_bytes: number, action: () => Promise<T>) => action(), expect: () => undefined };
    const plan = await compact({ ...options, dryRun: true }, planning).catch(failed);
    const [result] = await Promise.all([compact(options, control).catch(failed), this.#several(writes)]);
    if (result === null || writes > 0) return;
    this.#state.sectors = settled(this.#state.sectors);
    if (plan !== null && plan.after !== result.after)
      throw new Violation('content', `the file has ${result.after} bytes, not ${plan.after}`);
  }

  async #several(writes: number): Promise<void> {
    for (let i = 0; i < writes; i++) await this.#write(this.random.pick(['write', 'write', 'zero', 'unmap'] as const));
  }

  /** A write that the image must take. */
  async mustWrite(): Promise<void> {
    const { from, to } = this.#range();
    const value = this.#next++;
    const done = await this.#change(from, to, value, () => this.#request('write', from, to, value));
    if (!done) throw new Violation('unexpected', 'the image takes no writes any more');
  }

  async delete(): Promise<void> {
    const { snapshots } = this.#state;
    if (snapshots.length === 0) return;
    const { id } = this.random.pick(snapshots);
    await this.#try(
      () => this.#snapshots.remove(id),
      (state) => ({ ...state, snapshots: state.snapshots.filter((one) => one.id !== id) }),
    );
  }

  get sectorCount(): number {
    return this.#state.sectors.length;
  }

  /** Makes the disk smaller or larger: `count` sectors. */
  async resize(
    count = this.random.between(1, this.sectorCount * 1.5 + 8),
    preallocation: PreallocMode = 'off',
  ): Promise<void> {
    if (this.#version === 2 && this.#state.snapshots.length > 0) return;
    const { sectors } = this.#state;
    const kept = sectors.slice(0, count);
    // What a smaller size cuts off may be gone before the size has changed.
    for (const [i, values] of sectors.entries()) if (i >= count) values.unshift(this.#belowAt(i), 0);
    const added = Array.from({ length: Math.max(0, count - sectors.length) }, () => [0]);
    await this.#try(
      () => this.node.truncate(count * SECTOR, { preallocation }),
      (state) => ({ ...state, sectors: [...kept, ...added] }),
      true,
    );
  }

  #range(): { from: number; to: number } {
    const { random, shape } = this;
    const count = this.#state.sectors.length;
    const perCluster = shape.clusterSize / SECTOR;
    let from = random.below(count);
    let to = Math.min(count, from + random.between(1, Math.ceil(perCluster * random.pick([0.3, 1, 6]))));
    if (random.chance(0.5)) {
      from = Math.floor(from / perCluster) * perCluster;
      to = Math.min(count, Math.ceil(to / perCluster) * perCluster);
    }
    return { from, to };
  }

  async #write(kind: 'write' | 'zero' | 'unmap' | 'discard' | 'compressed'): Promise<void> {
    let { from, to } = this.#range();
    if (kind === 'compressed') {
      const perCluster = this.shape.clusterSize / SECTOR;
      from = Math.floor(from / perCluster) * perCluster;
      to = Math.min(this.#state.sectors.length, Math.ceil(to / perCluster) * perCluster);
    }
    const value = kind === 'write' || kind === 'compressed' ? this.#next++ : 0;
    const done = await this.#change(from, to, value, () => this.#request(kind, from, to, value));
    if (kind === 'discard' && done) await this.#look(from, to);
  }

  async #request(kind: string, from: number, to: number, value: number): Promise<void> {
    const [offset, length] = [from * SECTOR, (to - from) * SECTOR];
    if (kind === 'discard') return this.node.discard(offset, length);
    if (value === 0) return this.node.writeZeroes(offset, length, { mayUnmap: kind === 'unmap' });
    const data = new Uint8Array(length);
    new Uint32Array(data.buffer).fill(value);
    return this.node.writeExtents([{ offset, length }], data, { compressed: kind === 'compressed' });
  }

  /** Sectors that get `value`, though perhaps not before power is lost. False where that fails: then they may have either. */
  async #change(from: number, to: number, value: number, action: () => Promise<void>): Promise<boolean> {
    const { sectors } = this.#state;
    for (let i = from; i < to; i++) sectors[i].push(value);
    try {
      await action();
      return true;
    } catch (error) {
      if (!(error instanceof BlockError) || (error.code !== 'io' && error.code !== 'no-space')) throw error;
      this.uncertain = true;
      await this.#look(from, to);
      return false;
    }
  }

  /** The values that these sectors have now. */
  async #look(from: number, to: number): Promise<void> {
    const content = new Uint8Array((to - from) * SECTOR);
    // The disk may fail this, too.
    for (let failed = true; failed; ) {
      failed = await this.node.read(from * SECTOR, content).then(
        () => false,
        (error: unknown) => {
          if (error instanceof BlockError && error.code === 'io') return true;
          throw error;
        },
      );
    }
    const words = new Uint32Array(content.buffer);
    for (let i = from; i < to; i++) {
      const value = words[((i - from) * SECTOR) / 4];
      const values = this.#state.sectors[i];
      if (!values.includes(value))
        throw new Violation('content', `sector ${i} reads ${value}, not ${values.join(' ')}`);
      values.push(value);
    }
  }

  /** A write and a new snapshot at the same time: each of its sectors is in the snapshot, or is not. */
  async #writeBeside(): Promise<void> {
    const { from, to } = this.#range();
    const value = this.#next++;
    const { sectors } = this.#state;
    const before = sectors.slice(from, to).map((values) => values[values.length - 1]);
    for (let i = from; i < to; i++) sectors[i].push(value);
    const writing = this.#request('write', from, to, value).then(
      () => true,
      (error: unknown) => {
        if (error instanceof BlockError && (error.code === 'io' || error.code === 'no-space')) return false;
        throw error;
      },
    );
    await this.#create(new Uint8Array(0), (held) => {
      for (let i = from; i < to; i++) held[i] = [before[i - from], value];
    });
    const written = await writing;
    // Whether the write was flushed with the snapshot is not known.
    for (let i = from; i < to; i++) this.#state.sectors[i] = [before[i - from], value];
    if (written) return;
    this.uncertain = true;
    await this.#look(from, to);
  }

  // ---- what must hold ---------------------------------------------------------------------------------------------

  /** Closes the image; it must be sound, and hold what the model says. */
  async closeAndVerify({ mayLeak = this.uncertain } = {}): Promise<void> {
    await this.graph.closeAll();
    this.verifyFile({ mayLeak });
  }

  /** The file as it is: for an image that is closed, or was flushed. After power loss, `lost`. */
  verifyFile({ mayLeak = true, lost = false } = {}): void {
    const file = this.host.readFile(TOP);
    const report = verifyQcow2(file);
    if (report.errors.length > 0) throw new Violation('metadata', report.errors.join('; '));
    if (!mayLeak && report.leaks > 0) throw new Violation('leak', `${report.leaks} clusters leak`);
    const states = [this.#state, this.#coming, this.#failed].filter((state) => state !== null);
    const below = this.shape.backingSectors > 0 ? this.#base() : new Uint8Array(0);
    const problems = states.map((state) => differs(file, report, state, below, lost));
    const found = problems.indexOf(null);
    if (found < 0) throw new Violation('content', problems.join('; nor: '));
    this.#state = states[found];
    this.#coming = null;
    this.#failed = null;
  }

  /** Goes on with what power loss left, on a host of this seed. */
  async restart(seed = this.seed): Promise<void> {
    this.flushesLeft = Number.POSITIVE_INFINITY;
    this.host = this.host.crash({ seed, onRequest: this.#watch });
    this.verifyFile({ lost: true });
    const report = verifyQcow2(this.host.readFile(TOP));
    const content = readClusters(
      this.host.readFile(TOP),
      report,
      report,
      this.shape.backingSectors > 0 ? this.#base() : new Uint8Array(0),
    );
    const words = new Uint32Array(content.buffer);
    this.#state.sectors = this.#state.sectors.map((_, i) => [words[(i * SECTOR) / 4]]);
  }

  /** A second copy of all of it, as it is now: its image is to be opened. */
  fork(options: { faults?: FaultPlan } = {}): SnapshotRun {
    const copy = new SnapshotRun(this.seed);
    copy.host = this.host.fork({ eager: true, ...options });
    copy.#state = structuredClone(this.#state);
    copy.#next = this.#next;
    return copy;
  }
}
