// A guest that does random I/O, several requests at a time, and tells the model. Requests that change sectors never overlap each
// other; reads may overlap anything.

import type { Random } from '../../src/host/sim/index.js';
import { BlockError } from '../../src/util/errors.js';
import { type Change, decodeSectors, encodeSectors, type GuestModel, SECTOR } from './model.js';

/** What a guest talks to: a node or a device. */
export interface GuestDisk {
  readonly length: number;
  read(offset: number, buffer: Uint8Array): Promise<void>;
  write(offset: number, buffer: Uint8Array): Promise<void>;
  writeZeroes(offset: number, length: number, flags?: { mayUnmap?: boolean }): Promise<void>;
  discard(offset: number, length: number): Promise<void>;
  flush(): Promise<void>;
}

/** Weights of what the guest does. */
export interface GuestHabits {
  read: number;
  write: number;
  zero: number;
  discard: number;
  flush: number;
  /** Sectors of the largest request. */
  largest: number;
  /** Share of requests that go to the first sixteenth of the disk, where they meet each other. */
  hot: number;
  /** Requests are aligned to this many sectors now and then. */
  clusterSectors: number;
}

export function randomHabits(random: Random, clusterSize: number): GuestHabits {
  return {
    read: random.between(5, 30),
    write: random.between(20, 60),
    zero: random.pick([0, 5, 20]),
    discard: random.pick([0, 5, 20]),
    flush: random.pick([2, 8, 20]),
    largest: random.pick([4, 16, 80]),
    hot: random.pick([0, 0.5, 0.9]),
    clusterSectors: Math.max(1, clusterSize / SECTOR),
  };
}

/** Which promise of the block layer was broken. */
export type ViolationKind =
  | 'content' // a sector holds, or reads as, what it must not
  | 'metadata' // an image contradicts itself
  | 'bitmap' // a stored bitmap looks right, and is not
  | 'leak' // clusters leak where they must not
  | 'changed' // a file changed that nobody was to write
  | 'promise' // a job said that it succeeded and did not leave what it promised
  | 'refused' // a request failed that had no reason to
  | 'stuck' // something does not end
  | 'buffers' // memory was not given back
  | 'unexpected'; // an exception that is no answer to anything

/** A promise of the block layer was broken. */
export class Violation extends Error {
  override readonly name = 'Violation';
  readonly kind: ViolationKind;

  constructor(kind: ViolationKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
  }
}

export interface GuestOptions {
  habits: GuestHabits;
  random: Random;
  model: GuestModel;
  disk: GuestDisk;
  /** Codes of errors that may come; all others are violations. */
  expectedErrors: ReadonlySet<string>;
  /** Gives each write its own value. */
  nextValue: () => number;
  /** Stops early when it says so. */
  stopped?: () => boolean;
  /** What a worker does between two requests. */
  think?: () => Promise<void>;
}

export class Guest {
  private readonly options: GuestOptions;
  private readonly busy = new Set<number>();
  /** Requests that met an error that was expected. */
  failures = 0;

  constructor(options: GuestOptions) {
    this.options = options;
  }

  /** Does about `operations` requests with `workers` of them side by side. */
  async run(operations: number, workers: number): Promise<void> {
    let left = operations;
    const worker = async () => {
      while (left-- > 0 && !this.options.stopped?.()) {
        await this.step();
        await this.options.think?.();
      }
    };
    await Promise.all(Array.from({ length: workers }, worker));
  }

  private async step(): Promise<void> {
    const { habits, random } = this.options;
    const kinds = ['read', 'write', 'zero', 'discard', 'flush'] as const;
    let ticket = random.below(kinds.reduce((sum, kind) => sum + habits[kind], 0));
    const kind = kinds.find((name) => {
      ticket -= habits[name];
      return ticket < 0;
    })!;
    if (kind === 'flush') {
      await this.flush();
      return;
    }
    const { first, count } = this.range();
    if (kind === 'read') return this.read(first, count);
    for (let i = 0; i < count; i++) if (this.busy.has(first + i)) return;
    for (let i = 0; i < count; i++) this.busy.add(first + i);
    await this.change(kind, first, count);
    for (let i = 0; i < count; i++) this.busy.delete(first + i);
  }

  private range(): { first: number; count: number } {
    const { habits, random, model } = this.options;
    const reach = random.chance(habits.hot) ? Math.max(1, Math.floor(model.sectors / 16)) : model.sectors;
    let first = random.below(reach);
    let count = random.between(1, random.chance(0.2) ? habits.largest * 4 : habits.largest);
    if (random.chance(0.4)) {
      first -= first % habits.clusterSectors;
      count = Math.ceil(count / habits.clusterSectors) * habits.clusterSectors;
    }
    return { first, count: Math.min(count, model.sectors - first) };
  }

  private async read(first: number, count: number): Promise<void> {
    const { model, disk } = this.options;
    const watch = model.watch(first, count);
    const buffer = new Uint8Array(count * SECTOR);
    const ok = await this.expecting(disk.read(first * SECTOR, buffer), `read of ${count} sectors at ${first}`);
    model.unwatch(watch);
    if (!ok) return;
    decodeSectors(buffer).forEach((value, i) => {
      const allowed = watch.allowed[i];
      if (allowed !== null && !allowed.has(value)) {
        throw new Violation('content', `sector ${first + i} reads as ${value}, allowed: ${[...allowed].join(' ')}`);
      }
    });
  }

  private async change(kind: 'write' | 'zero' | 'discard', first: number, count: number): Promise<void> {
    const { model, disk, random, nextValue } = this.options;
    const values = kind === 'write' ? Array.from({ length: count }, nextValue) : Array(count).fill(0);
    const change: Change = model.begin(first, values, kind !== 'write');
    const offset = first * SECTOR;
    const request =
      kind === 'write'
        ? disk.write(offset, encodeSectors(values))
        : kind === 'zero'
          ? disk.writeZeroes(offset, count * SECTOR, { mayUnmap: random.chance(0.5) })
          : disk.discard(offset, count * SECTOR);
    const ok = await this.expecting(request, `${kind} of ${count} sectors at ${first}`);
    model.end(change, ok && kind !== 'discard' ? 'sure' : 'maybe');
  }

  async flush(): Promise<boolean> {
    const { model, disk } = this.options;
    const issued = model.beginFlush();
    const ok = await this.expecting(disk.flush(), 'flush');
    if (ok) model.endFlush(issued);
    return ok;
  }

  private async expecting(request: Promise<void>, what: string): Promise<boolean> {
    try {
      await request;
      return true;
    } catch (error) {
      if (error instanceof BlockError && this.options.expectedErrors.has(error.code)) {
        this.failures++;
        return false;
      }
      throw new Violation('refused', `${what} failed: ${(error as Error).stack ?? error}`, { cause: error });
    }
  }
}
