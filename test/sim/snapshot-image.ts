// A qcow2 image with internal snapshots, and a plain model of it: what the disk holds now, and at each snapshot. Every sector is filled with the number of the write that it
// came from. The image is read by the independent verifier, so that what the driver believes does not count.
//
// After power loss the disk and its list of snapshots are as the last change that was answered left them, or as the one under way would have; a write that no
// flush acknowledged may be lost, sector by sector. Snapshots that were there hold what they held.

import { createImage } from '../../src/block/create.js';
import { Graph } from '../../src/block/graph.js';
import type { BlockNode } from '../../src/block/node/node.js';
import { openNode } from '../../src/block/open.js';
import { registerDrivers } from '../../src/drivers/index.js';
import { createSimHost, type FaultPlan, Random, type SimHost, type SimRequest } from '../../src/host/sim/index.js';
import { BlockError } from '../../src/util/errors.js';
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

export const TOP = '/top.qcow2';
const BASE = '/base.raw';

export class SnapshotImage {
  readonly seed: number;
  readonly shape: Shape;
  readonly random: Random;
  host: SimHost;
  graph!: Graph;
  node!: BlockNode;
  protected state: State;
  /** What the change under way leads to; null: there is none. */
  #coming: State | null = null;
  /** What one that the disk failed would have led to: it is on the disk perhaps, until another change succeeds. */
  #failed: State | null = null;
  protected next = 1;
  /** A change failed for the disk's sake. */
  uncertain = false;

  /** `fixed`: what the seed does not decide. */
  constructor(seed: number, extended?: boolean, fixed: Partial<Shape> = {}) {
    registerDrivers();
    this.seed = seed;
    this.random = new Random(seed, 91);
    this.shape = { ...randomShape(this.random, extended), ...fixed };
    this.host = createSimHost({ seed });
    this.state = { sectors: this.below(this.shape.sectors), snapshots: [] };
  }

  /** What the backing file, or nothing, gives `count` sectors. */
  protected below(count: number): Sectors {
    return Array.from({ length: count }, (_, sector) => [this.belowAt(sector)]);
  }

  protected belowAt(sector: number): number {
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

  get sectorCount(): number {
    return this.state.sectors.length;
  }

  /**
   * A change that makes everything before it durable, and leads from one state to another: where it fails, and where power is lost meanwhile, the image is
   * in either. It may be refused for the width of refcounts. False where it was not made.
   */
  protected async attempt(
    action: () => Promise<unknown>,
    change: (state: State) => State,
    partly = false,
  ): Promise<boolean> {
    const old = this.state;
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
      if (partly) await this.lookAtAll();
      return false;
    }
    this.#coming = null;
    this.#failed = null;
    this.state = { sectors: settled(next.sectors), snapshots: next.snapshots };
    return true;
  }

  /** After a change that unmaps, and that failed: any sector may read as what lies below. */
  protected async lookAtAll(): Promise<void> {
    const { sectors } = this.state;
    for (const [i, values] of sectors.entries()) values.unshift(this.belowAt(i), 0);
    await this.look(0, sectors.length);
  }

  /** A write that the image must take. */
  async mustWrite(): Promise<void> {
    const { from, to } = this.range();
    const value = this.next++;
    const done = await this.#change(from, to, value, () => this.request('write', from, to, value));
    if (!done) throw new Violation('unexpected', 'the image takes no writes any more');
  }

  protected range(): { from: number; to: number } {
    const { random, shape } = this;
    const count = this.state.sectors.length;
    const perCluster = shape.clusterSize / SECTOR;
    let from = random.below(count);
    let to = Math.min(count, from + random.between(1, Math.ceil(perCluster * random.pick([0.3, 1, 6]))));
    if (random.chance(0.5)) {
      from = Math.floor(from / perCluster) * perCluster;
      to = Math.min(count, Math.ceil(to / perCluster) * perCluster);
    }
    return { from, to };
  }

  protected async writeRandom(kind: 'write' | 'zero' | 'unmap' | 'discard' | 'compressed'): Promise<void> {
    let { from, to } = this.range();
    if (kind === 'compressed') {
      const perCluster = this.shape.clusterSize / SECTOR;
      from = Math.floor(from / perCluster) * perCluster;
      to = Math.min(this.state.sectors.length, Math.ceil(to / perCluster) * perCluster);
    }
    const value = kind === 'write' || kind === 'compressed' ? this.next++ : 0;
    const done = await this.#change(from, to, value, () => this.request(kind, from, to, value));
    if (kind === 'discard' && done) await this.look(from, to);
  }

  protected async request(kind: string, from: number, to: number, value: number): Promise<void> {
    const [offset, length] = [from * SECTOR, (to - from) * SECTOR];
    if (kind === 'discard') return this.node.discard(offset, length);
    if (value === 0) return this.node.writeZeroes(offset, length, { mayUnmap: kind === 'unmap' });
    const data = new Uint8Array(length);
    new Uint32Array(data.buffer).fill(value);
    return this.node.writeExtents([{ offset, length }], data, { compressed: kind === 'compressed' });
  }

  /** Sectors that get `value`, though perhaps not before power is lost. False where that fails: then they may have either. */
  async #change(from: number, to: number, value: number, action: () => Promise<void>): Promise<boolean> {
    const { sectors } = this.state;
    for (let i = from; i < to; i++) sectors[i].push(value);
    try {
      await action();
      return true;
    } catch (error) {
      if (!(error instanceof BlockError) || (error.code !== 'io' && error.code !== 'no-space')) throw error;
      this.uncertain = true;
      await this.look(from, to);
      return false;
    }
  }

  /** The values that these sectors have now. */
  protected async look(from: number, to: number): Promise<void> {
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
      const values = this.state.sectors[i];
      if (!values.includes(value))
        throw new Violation('content', `sector ${i} reads ${value}, not ${values.join(' ')}`);
      values.push(value);
    }
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
    const states = [this.state, this.#coming, this.#failed].filter((state) => state !== null);
    const below = this.shape.backingSectors > 0 ? this.#base() : new Uint8Array(0);
    const problems = states.map((state) => differs(file, report, state, below, lost));
    const found = problems.indexOf(null);
    if (found < 0) throw new Violation('content', problems.join('; nor: '));
    this.state = states[found];
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
    this.state.sectors = this.state.sectors.map((_, i) => [words[(i * SECTOR) / 4]]);
  }
}
