// A random run against one qcow2 image on the simulated disk, and a plain model of what a guest must see. Each sector of the disk
// is filled with its version number; of every change the model knows when it began and when it was answered, so that after a
// power loss it can tell which versions a sector may have.

import { createImage } from '../../../src/block/create.js';
import { findingText } from '../../../src/block/finding-text.js';
import { Graph } from '../../../src/block/graph.js';
import type { BlockNode } from '../../../src/block/node/node.js';
import { openNode } from '../../../src/block/open.js';
import { registerDrivers } from '../../../src/drivers/index.js';
import { createSimHost, type FaultPlan, Random, type SimHost, SimPowerLoss } from '../../../src/host/sim/index.js';
import { BlockError } from '../../../src/util/errors.js';
import { verifyQcow2 } from '../../sim/verify-qcow2.js';

const SECTOR = 512;
/** Version of what the backing file has, plus the sector's number. */
const BASE = 0x4000_0000;

interface Change {
  /** First sector, and number of sectors. */
  from: number;
  count: number;
  version: number;
  begun: number;
  /** Infinity while not answered, or failed. */
  answered: number;
}

export interface Shape {
  clusterSize: number;
  version: 'v2' | 'v3';
  refcountBits: number;
  size: number;
  /** Bytes of the backing file; 0 for none. */
  backingSize: number;
  compression: 'zlib' | 'zstd';
  /** L2 entries are extended. */
  extended?: boolean;
  /** The content lies in a file of its own; `raw`: which reads as the disk does. */
  dataFile?: 'plain' | 'raw';
  encrypted?: boolean;
}

const SECRET = 's';

export const TOP = '/top.qcow2';
export const DATA = '/top.raw';

export function randomShape(random: Random): Shape {
  const extended = random.chance(0.3);
  const version = !extended && random.chance(0.25) ? 'v2' : 'v3';
  const clusterSize = extended ? random.pick([16384, 65536]) : random.pick([512, 512, 1024, 4096, 65536]);
  const most = Math.min(600, Math.ceil((4 << 20) / clusterSize));
  const size = random.between(1, most * (clusterSize / SECTOR)) * SECTOR;
  return {
    clusterSize,
    version,
    refcountBits: version === 'v2' ? 16 : random.pick([1, 2, 4, 8, 16, 16, 32, 64]),
    size,
    backingSize: random.chance(0.5) ? 0 : random.between(1, (size * 1.3) / SECTOR) * SECTOR,
    extended,
    compression: version === 'v3' && random.chance(0.3) ? 'zstd' : 'zlib',
  };
}

/** The same of an image with an external data file. */
export function withDataFile(shape: Shape, random: Random): Shape {
  const dataFile = random.pick(['plain', 'plain', 'raw'] as const);
  return {
    ...shape,
    version: 'v3',
    dataFile,
    ...(dataFile === 'raw' && { backingSize: 0 }),
    encrypted: random.chance(0.25),
  };
}

function fill(buffer: Uint8Array, sector: number, version: number): void {
  new Uint32Array(buffer.buffer, buffer.byteOffset + sector * SECTOR, SECTOR / 4).fill(version);
}

export class ModelRun {
  readonly seed: number;
  readonly shape: Shape;
  readonly random: Random;
  host: SimHost;
  graph!: Graph;
  node!: BlockNode;
  #clock = 0;
  #nextVersion = 1;
  #changes: Change[] = [];
  #busy: { from: number; to: number }[] = [];
  /** When the last flush that succeeded was asked for. */
  #durableSince = 0;
  sectors: number;

  constructor(seed: number, shape?: Shape) {
    registerDrivers();
    this.seed = seed;
    this.random = new Random(seed, 77);
    this.shape = shape ?? randomShape(this.random);
    this.host = createSimHost({ seed });
    this.sectors = this.shape.size / SECTOR;
  }

  /** Makes and opens the images; faults begin after that. */
  async prepare(faults: FaultPlan = {}): Promise<void> {
    const { shape } = this;
    await this.host.run(async () => {
      const graph = await this.#newGraph();
      if (shape.backingSize > 0) {
        const base = new Uint8Array(shape.backingSize);
        for (let i = 0; i < shape.backingSize / SECTOR; i++) fill(base, i, BASE + i);
        this.host.writeFile('/base.raw', base);
      }
      await createImage(graph, TOP, {
        driver: 'qcow2',
        size: shape.size,
        version: shape.version,
        'cluster-size': shape.clusterSize,
        'refcount-bits': shape.refcountBits,
        'extended-l2': shape.extended,
        'compression-type': shape.compression,
        ...(shape.dataFile !== undefined && {
          'data-file': { driver: 'file', filename: DATA },
          'data-file-raw': shape.dataFile === 'raw',
        }),
        ...(shape.encrypted && {
          encrypt: { format: 'luks', 'key-secret': SECRET, 'iter-time': 1, 'cipher-alg': 'aes-128' },
        }),
        ...(shape.backingSize > 0 ? { 'backing-file': '/base.raw', 'backing-fmt': 'raw' } : {}),
      });
    });
    this.host = this.host.crash({ seed: this.seed });
    await this.host.run(async () => {
      await this.open(false);
      if (!shape.encrypted || shape.dataFile !== 'raw') return;
      // What is mapped from the start decrypts to noise.
      await this.node.writeZeroes(0, shape.size);
      await this.node.flush();
    });
    this.host.setFaults(faults);
  }

  async #newGraph(): Promise<Graph> {
    const graph = new Graph(this.host);
    if (this.shape.encrypted) await graph.objects.add({ 'qom-type': 'secret', id: SECRET, data: 'password' });
    return graph;
  }

  async open(readOnly: boolean): Promise<void> {
    this.graph = await this.#newGraph();
    const keeps = this.shape.version === 'v3' && this.seed % 3 === 0;
    const file = { driver: 'file', filename: TOP } as const;
    const encrypt = { format: 'luks', 'key-secret': SECRET } as const;
    const image = {
      driver: 'qcow2',
      file,
      ...(keeps && { 'discard-no-unref': true }),
      ...(this.shape.encrypted && { encrypt }),
    } as const;
    this.node = await openNode(this.graph, image, { readOnly, discard: 'unmap' });
  }

  /** Random requests, up to `depth` at once. Errors of the simulated disk fail one request and no more. */
  async work(requests: number, depth = 6): Promise<void> {
    const running = new Set<Promise<void>>();
    for (let i = 0; i < requests; i++) {
      const one = this.#request().finally(() => running.delete(one));
      running.add(one);
      if (running.size >= depth) await Promise.race(running);
    }
    await Promise.all(running);
  }

  async #request(): Promise<void> {
    const kind = this.random.pick([
      'write',
      'write',
      'write',
      'extents',
      'read',
      'read',
      'zero',
      'unmap',
      'discard',
      this.shape.dataFile === undefined && !this.shape.encrypted ? 'compressed' : 'extents',
      'flush',
    ]);
    if (kind === 'flush') {
      await this.flush();
      return;
    }
    const extents = this.#pickExtents(kind);
    if (extents === null) return;
    const from = extents[0].from;
    const to = extents[extents.length - 1].to;
    const busy = { from, to };
    this.#busy.push(busy);
    try {
      if (kind === 'read') await this.#read(from, to);
      else await this.#change(kind, extents);
    } finally {
      this.#busy.splice(this.#busy.indexOf(busy), 1);
    }
  }

  async flush(): Promise<boolean> {
    const begun = ++this.#clock;
    if (!(await this.#attempt(() => this.node.flush()))) return false;
    this.#durableSince = Math.max(this.#durableSince, begun);
    return true;
  }

  #pickExtents(kind: string): { from: number; to: number }[] | null {
    const { random } = this;
    const perCluster = this.shape.clusterSize / SECTOR;
    const count = kind === 'extents' ? random.between(2, 4) : 1;
    const extents: { from: number; to: number }[] = [];
    let at = random.below(this.sectors);
    for (let i = 0; i < count && at < this.sectors; i++) {
      const longest = Math.max(1, perCluster * random.pick([0.2, 1, 5]));
      let to = Math.min(this.sectors, at + random.between(1, Math.ceil(longest)));
      if (kind === 'compressed' || random.chance(0.4)) {
        at = Math.floor(at / perCluster) * perCluster;
        to = Math.min(this.sectors, Math.ceil(to / perCluster) * perCluster);
      }
      if (extents.length > 0 && at <= extents[extents.length - 1].to) break;
      extents.push({ from: at, to });
      at = to + random.between(1, 3 * perCluster);
    }
    const from = extents[0].from;
    const { to } = extents[extents.length - 1];
    return this.#busy.some((other) => other.from < to && from < other.to) ? null : extents;
  }

  /** True when it succeeded; false for an error of the simulated disk. */
  async #attempt(action: () => Promise<void>): Promise<boolean> {
    try {
      await action();
      return true;
    } catch (error) {
      if (error instanceof BlockError && (error.code === 'io' || error.code === 'no-space')) return false;
      throw error;
    }
  }

  async #change(kind: string, extents: { from: number; to: number }[]): Promise<void> {
    const zero = kind === 'zero' || kind === 'unmap';
    const version = zero || kind === 'discard' ? 0 : this.#nextVersion++;
    const begun = ++this.#clock;
    const changes = extents.map(({ from, to }) => ({ from, count: to - from, version, begun, answered: Infinity }));
    this.#changes.push(...changes);
    const ranges = extents.map(({ from, to }) => ({ offset: from * SECTOR, length: (to - from) * SECTOR }));
    const buffer = new Uint8Array(ranges.reduce((sum, { length }) => sum + length, 0));
    if (version !== 0) new Uint32Array(buffer.buffer).fill(version);
    const done = await this.#attempt(async () => {
      if (zero) await this.node.writeZeroes(ranges[0].offset, ranges[0].length, { mayUnmap: kind === 'unmap' });
      else if (kind === 'discard') await this.node.discard(ranges[0].offset, ranges[0].length);
      else await this.node.writeExtents(ranges, buffer, { compressed: kind === 'compressed' });
    });
    if (done && kind !== 'discard') {
      for (const change of changes) change.answered = ++this.#clock;
      return;
    }
    // A failed request, or a discard, may have done some of it: whatever reads now is what the sectors hold.
    await this.#settle(changes);
  }

  /** Reads what an uncertain change left, sector by sector: the old version or the new. */
  async #settle(changes: Change[]): Promise<void> {
    for (const { from, count } of changes) {
      const buffer = new Uint8Array(count * SECTOR);
      if (!(await this.#attempt(() => this.node.read(from * SECTOR, buffer)))) continue;
      const words = new Uint32Array(buffer.buffer);
      for (let i = 0; i < count; i++) {
        const version = this.#versionIn(words, i, from + i);
        this.#expect(from + i, version, this.#allowed(from + i, Infinity));
        // It may still be volatile, so the change stays possible; from now on reads must be stable.
        this.#changes.push({ from: from + i, count: 1, version, begun: ++this.#clock, answered: ++this.#clock });
      }
    }
  }

  #versionIn(words: Uint32Array, index: number, sector: number): number {
    const at = (index * SECTOR) / 4;
    for (let i = 1; i < SECTOR / 4; i++) {
      if (words[at + i] !== words[at]) throw new Error(`seed ${this.seed}: sector ${sector} is torn`);
    }
    return words[at];
  }

  #baseVersion(sector: number): number {
    return (sector + 1) * SECTOR <= this.shape.backingSize ? BASE + sector : 0;
  }

  /** Versions that a sector may have, if all that was answered before `since` is certain. */
  #allowed(sector: number, since: number): Set<number> {
    const allowed = new Set([this.#baseVersion(sector)]);
    for (const { from, count, version, answered } of this.#changes) {
      if (sector < from || sector >= from + count) continue;
      if (answered < since) allowed.clear();
      allowed.add(version);
    }
    return allowed;
  }

  #expect(sector: number, version: number, allowed: Set<number>): void {
    if (allowed.has(version)) return;
    const some = [...allowed].slice(-5).join(' ');
    throw new Error(`seed ${this.seed}: sector ${sector} has version ${version}, may have ${some}`);
  }

  async #read(from: number, to: number): Promise<void> {
    const buffer = new Uint8Array((to - from) * SECTOR);
    if (!(await this.#attempt(() => this.node.read(from * SECTOR, buffer)))) return;
    const words = new Uint32Array(buffer.buffer);
    for (let i = 0; i < to - from; i++) {
      this.#expect(from + i, this.#versionIn(words, i, from + i), this.#allowed(from + i, Infinity));
    }
  }

  /** Reads all: what was answered is there (or, after a power loss, what a flush made durable). */
  async verify(afterPowerLoss: boolean): Promise<void> {
    const buffer = new Uint8Array(this.shape.size);
    await this.node.read(0, buffer);
    const words = new Uint32Array(buffer.buffer);
    for (let i = 0; i < this.sectors; i++) {
      const allowed = this.#allowed(i, afterPowerLoss ? this.#durableSince : Infinity);
      this.#expect(i, this.#versionIn(words, i, i), allowed);
    }
  }

  /** What an independent reader finds in the files, which nobody has open. Leaks are none of its errors. */
  verifyFiles(): string[] {
    return verifyQcow2(this.host.readFile(TOP), this.shape.dataFile && this.host.readFile(DATA)).errors;
  }

  /** Of a raw data file that is closed: it reads as the disk does. Throws where it does not. */
  verifyRaw(): void {
    const content = this.host.readFile(DATA);
    const words = new Uint32Array(this.shape.size / 4);
    new Uint8Array(words.buffer).set(content.subarray(0, this.shape.size));
    for (let i = 0; i < this.sectors; i++) {
      this.#expect(i, this.#versionIn(words, i, i), this.#allowed(i, Infinity));
    }
  }

  /** Works until the power goes, or a little longer; the host is the one after that. */
  async losePower(): Promise<void> {
    await this.prepare({ powerLossAt: this.random.between(10, 300) });
    try {
      await this.host.run(async () => {
        await this.work(250);
        await this.graph.closeAll();
      });
    } catch (error) {
      if (!(error instanceof SimPowerLoss)) throw error;
    }
    this.host = this.host.crash();
  }

  /** Errors and leaks that our own check finds. */
  async check(): Promise<{ errors: string[]; leaks: number }> {
    const errors: string[] = [];
    const check = this.node.abilities.check!;
    const { corruptions, leaks, checkErrors } = await check((finding) => errors.push(findingText(finding)));
    return { errors: corruptions + checkErrors > 0 ? errors : [], leaks };
  }
}
