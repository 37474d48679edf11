// A small world for the job tests: a chain of memory nodes on a simulated host, a device on its top, and guests that write to it
// at random while a model in memory says what they must read.

import { expect } from 'chai';
import { Device, rootOf } from '../../src/block/device.js';
import { Graph } from '../../src/block/graph.js';
import { registerDrivers } from '../../src/drivers/index.js';
import { createSimHost, Random, type SimHost } from '../../src/host/sim/index.js';
import type { JobEnvironment } from '../../src/jobs/job-type.js';
import { JobManager } from '../../src/jobs/manager.js';
import { RangeLock } from '../../src/util/range-lock.js';
import { MemoryNode, pattern } from './memory-node.js';

// Names of backing files are read back before they are written.
registerDrivers();

export const KiB = 1024;
export const MiB = 1024 * KiB;

export class World {
  readonly host: SimHost;
  readonly graph: Graph;
  readonly manager: JobManager;
  readonly random: Random;
  readonly env: JobEnvironment;
  readonly latencyMs: number;
  /** Bottom first. */
  readonly layers: MemoryNode[] = [];
  device!: Device;
  /** What a guest must see. */
  model: Buffer = Buffer.alloc(0);
  #guests: Promise<void>[] = [];
  #stopped = false;
  readonly #busy = new RangeLock();

  constructor(options: { seed?: number; latencyMs?: number; filters?: boolean } = {}) {
    // Names of backing files are read as whoever opens the overlay reads them.
    registerDrivers();
    this.host = createSimHost(options.seed === undefined ? {} : { seed: options.seed });
    this.random = new Random(options.seed ?? 1, 77);
    this.latencyMs = options.latencyMs ?? (options.seed === undefined ? 0 : 3);
    this.graph = new Graph(this.host);
    this.manager = new JobManager(this.host.clock);
    // Every second random world.
    const { filters = (options.seed ?? 0) % 2 === 1 } = options;
    this.env = { graph: this.graph, manager: this.manager, filters };
  }

  node(
    name: string,
    size: number,
    more: { clusterBytes?: number; backing?: MemoryNode; readOnly?: boolean } = {},
  ): MemoryNode {
    return new MemoryNode(this.graph, { name, size, latencyMs: this.latencyMs, ...more });
  }

  /** A chain with random content, and a device on its top. Layers below the top are read-only. */
  chain(depth: number, size: number, options: { sizes?: number[]; clusterBytes?: number } = {}): void {
    for (let i = 0; i < depth; i++) {
      const clusterBytes = options.clusterBytes ?? 4096 << this.below(5);
      const node = this.node(`layer${i}`, options.sizes?.[i] ?? size, {
        clusterBytes,
        backing: this.layers.at(-1),
        readOnly: i < depth - 1,
      });
      for (let n = this.below(12); n > 0; n--) {
        const at = this.below(node.length / 512) * 512;
        const length = Math.min(node.length - at, (1 + this.below(256)) * 512);
        if (this.below(4) === 0) node.pokeZero(at - (at % clusterBytes), length);
        else {
          // Whole clusters, so that nothing has to come from below.
          const start = at - (at % clusterBytes);
          const end = Math.min(node.length, Math.ceil((at + length) / clusterBytes) * clusterBytes);
          node.poke(start, pattern(start, end - start, i * 100 + n));
        }
      }
      this.layers.push(node);
    }
    this.plug();
  }

  /** A device on the top layer; the model is what that reads as. */
  plug(): void {
    this.device = new Device(this.top, { name: 'drive0', writable: true });
    this.model = this.top.content();
  }

  get top(): MemoryNode {
    return this.layers[this.layers.length - 1];
  }

  below(limit: number): number {
    return Math.floor((this.random.next() / 2 ** 32) * Math.max(1, limit));
  }

  /** Milliseconds of the simulated clock. */
  pass(ms: number): Promise<void> {
    return new Promise((resolve) => this.host.clock.timer(ms, resolve));
  }

  startGuests(count = 3): void {
    this.#stopped = false;
    for (let i = 0; i < count; i++) this.#guests.push(this.#guest());
  }

  async stopGuests(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#guests);
    this.#guests = [];
  }

  async #guest(): Promise<void> {
    while (!this.#stopped) {
      await this.guestRequest();
      await this.pass(this.below(4));
    }
  }

  /** One random request; overlapping ones wait for each other, since their order would be nobody's promise. */
  async guestRequest(): Promise<void> {
    const length = (1 + this.below(this.below(8) === 0 ? 300 : 16)) * 512;
    const offset = this.below((this.model.length - length) / 512) * 512;
    await this.#busy.with(offset, offset + length, async () => {
      const kind = this.below(10);
      if (kind < 6) {
        const data = pattern(offset, length, this.random.next());
        await this.device.write(offset, data);
        data.copy(this.model, offset);
      } else if (kind < 8) {
        await this.device.writeZeroes(offset, length, { mayUnmap: true });
        this.model.fill(0, offset, offset + length);
      } else {
        const data = Buffer.alloc(length);
        await this.device.read(offset, data);
        expect(data.equals(this.model.subarray(offset, offset + length)), `guest reads ${offset}+${length}`).to.equal(
          true,
        );
      }
    });
  }

  /** The device reads as the model says. */
  expectModel(): void {
    const content = (rootOf(this.device).node as MemoryNode).content();
    expectSame(content.subarray(0, this.model.length), this.model, 'device and model');
  }

  /** No job left anything behind. */
  expectTidy(): void {
    expect(this.host.memory.liveBuffers, 'buffers').to.equal(0);
    for (const node of this.graph.nodes.values()) {
      expect(node.kind, `kind of ${node.nodeName}`).not.to.equal('filter');
      expect(node.blockers.size, `blockers of ${node.nodeName}`).to.equal(0);
      expect(node.serialiser, `serialiser of ${node.nodeName}`).to.equal(null);
      const users = [...node.parents].map((child) => child.user.userName);
      expect(
        users.filter((name) => name.includes("job '")),
        `users of ${node.nodeName}`,
      ).to.deep.equal([]);
    }
  }
}

export function expectSame(actual: Buffer, wanted: Buffer, what: string): void {
  expect(actual.length, `${what}: length`).to.equal(wanted.length);
  if (actual.equals(wanted)) return;
  let at = 0;
  while (actual[at] === wanted[at]) at++;
  throw new Error(`${what}: differ at ${at} (${Math.floor(at / 512)} sectors + ${at % 512})`);
}
