// A random life of one qcow2 image with internal snapshots (snapshot-image.ts): writes, and every change of the whole image.

import type { InternalSnapshots } from '../../src/block/internal-snapshots.js';
import type { FaultPlan } from '../../src/host/sim/index.js';
import type { PreallocMode } from '../../src/schema/generated/types.js';
import { BlockError } from '../../src/util/errors.js';
import { amendImage } from '../../src/workspace/amend.js';
import { Violation } from './guest.js';
import { SnapshotImage, TOP } from './snapshot-image.js';
import { SECTOR, type Sectors, type State, settled } from './snapshot-model.js';

const MAX_SNAPSHOTS = 6;

export class SnapshotRun extends SnapshotImage {
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
    const { snapshots } = this.state;
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
        await this.attempt(
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
        await this.attempt(
          () => this.node.makeEmpty(),
          ({ sectors, snapshots: list }) => ({ sectors: this.below(sectors.length), snapshots: list }),
          true,
        );
        return;
      case 'reopen':
        if (!this.reopens) return;
        await this.graph.closeAll();
        this.state.sectors = settled(this.state.sectors);
        return this.open();
      case 'beside':
        return snapshots.length < MAX_SNAPSHOTS ? this.#writeBeside() : undefined;
      case 'state':
        return snapshots.length < MAX_SNAPSHOTS ? this.#saveState() : undefined;
      default:
        return this.writeRandom(kind);
    }
  }

  /** The image is closed and opened again now and then. */
  reopens = true;

  create(): Promise<void> {
    return this.#create(new Uint8Array(0));
  }

  async #create(vmState: Uint8Array, beside: (held: Sectors) => void = () => undefined): Promise<void> {
    const { snapshots } = this.state;
    const id = String(Math.max(0, ...snapshots.map((one) => Number(one.id))) + 1);
    const name = `n${id}`;
    await this.attempt(
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
    for (let i = 0; i < state.length; i++) state[i] = (i * 13 + this.next) & 0xff;
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
    const { snapshots } = this.state;
    if (snapshots.length === 0) return;
    const { id, sectors } = this.random.pick(snapshots);
    const next: State = { sectors: sectors.map((values) => [...values]), snapshots };
    const applied = await this.attempt(
      () => this.#snapshots.apply(id),
      () => next,
    );
    if (!applied) return;
    // Which of several values the snapshot has is known now.
    this.state.sectors = next.sectors;
    for (const [sector, values] of sectors.entries()) {
      if (values.length === 1) continue;
      await this.look(sector, sector + 1);
      values.splice(0, values.length, this.state.sectors[sector].at(-1)!);
    }
    this.state.sectors = settled(this.state.sectors);
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
    const amended = await this.attempt(
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
    this.state.sectors = settled(this.state.sectors);
    if (plan !== null && plan.after !== result.after)
      throw new Violation('content', `the file has ${result.after} bytes, not ${plan.after}`);
  }

  async #several(writes: number): Promise<void> {
    for (let i = 0; i < writes; i++)
      await this.writeRandom(this.random.pick(['write', 'write', 'zero', 'unmap'] as const));
  }

  async delete(): Promise<void> {
    const { snapshots } = this.state;
    if (snapshots.length === 0) return;
    const { id } = this.random.pick(snapshots);
    await this.attempt(
      () => this.#snapshots.remove(id),
      (state) => ({ ...state, snapshots: state.snapshots.filter((one) => one.id !== id) }),
    );
  }

  /** Makes the disk smaller or larger: `count` sectors. */
  async resize(
    count = this.random.between(1, this.sectorCount * 1.5 + 8),
    preallocation: PreallocMode = 'off',
  ): Promise<void> {
    if (this.#version === 2 && this.state.snapshots.length > 0) return;
    const { sectors } = this.state;
    const kept = sectors.slice(0, count);
    // What a smaller size cuts off may be gone before the size has changed.
    for (const [i, values] of sectors.entries()) if (i >= count) values.unshift(this.belowAt(i), 0);
    const added = Array.from({ length: Math.max(0, count - sectors.length) }, () => [0]);
    await this.attempt(
      () => this.node.truncate(count * SECTOR, { preallocation }),
      (state) => ({ ...state, sectors: [...kept, ...added] }),
      true,
    );
  }

  /** A write and a new snapshot at the same time: each of its sectors is in the snapshot, or is not. */
  async #writeBeside(): Promise<void> {
    const { from, to } = this.range();
    const value = this.next++;
    const { sectors } = this.state;
    const before = sectors.slice(from, to).map((values) => values[values.length - 1]);
    for (let i = from; i < to; i++) sectors[i].push(value);
    const writing = this.request('write', from, to, value).then(
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
    for (let i = from; i < to; i++) this.state.sectors[i] = [before[i - from], value];
    if (written) return;
    this.uncertain = true;
    await this.look(from, to);
  }

  /** A second copy of all of it, as it is now: its image is to be opened. */
  fork(options: { faults?: FaultPlan } = {}): SnapshotRun {
    const copy = new SnapshotRun(this.seed);
    copy.host = this.host.fork({ eager: true, ...options });
    copy.state = structuredClone(this.state);
    copy.next = this.next;
    return copy;
  }
}
