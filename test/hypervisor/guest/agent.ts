// The test's side of the agent: one request at a time, and the workers' acknowledgements as they come.

import { LineLink } from './lines.js';
import { checkRecords } from './records.js';
import { within } from './within.js';

export interface WorkerOptions {
  /** File in the guest, whose content it becomes. */
  path: string;
  seed: number;
  /** Length of the file in blocks of 4 KiB. Default: 4096. */
  blocks?: number;
  /** Records that are synced together. Default: 1. */
  batch?: number;
}

/** A workload in the guest: writes records until it is stopped, and can be started again, in the next guest, too. */
export class Worker {
  readonly path: string;
  readonly seed: number;
  readonly blocks: number;
  readonly batch: number;
  /** The last record whose sync had returned in the guest, as far as we were told. */
  acknowledged = 0;

  constructor({ path, seed, blocks = 4096, batch = 1 }: WorkerOptions) {
    this.path = path;
    this.seed = seed;
    this.blocks = blocks;
    this.batch = batch;
  }

  get name(): string {
    return `${this.seed}`;
  }

  /** What may be in the file when the worker was killed: more than we were told of may have been synced. */
  check(observed: Uint32Array, low = this.acknowledged, high = Number.POSITIVE_INFINITY): void {
    const { seed, blocks, batch } = this;
    try {
      checkRecords(observed, { seed, blocks, batch, low, high });
    } catch (error) {
      throw new Error(`${this.path} (seed ${seed}, batches of ${batch}): ${(error as Error).message}`);
    }
  }

  /** Goes on from what a guest has found after a kill, or in a backup, once that is checked: with the first batch that may be torn. */
  resume(observed: Uint32Array, low = this.acknowledged, high?: number): void {
    this.check(observed, low, high);
    const last = observed.reduce((most, n) => Math.max(most, n), 0);
    this.acknowledged = Math.max(low, Math.floor((last - 1) / this.batch) * this.batch);
  }
}

interface Request {
  take(line: string, words: string[]): boolean;
  reject(error: Error): void;
}

export class Agent {
  readonly #link: LineLink;
  readonly #workers = new Map<string, Worker>();
  #requests: Request[] = [];
  #watchers = new Set<{ look(): void; reject(error: Error): void }>();
  #broken: Error | null = null;
  /** Resolves when the guest is up. */
  readonly ready: Promise<void>;

  /** Listens at `path`: the machine's serial port connects there. */
  constructor(path: string) {
    this.#link = new LineLink(path, (line) => this.#receive(line));
    this.ready = this.#expect((_line, [word]) => word === 'hello');
    this.ready.catch(() => undefined);
    void this.#link.ended.then(() => this.#fail(new Error('the guest is gone')));
  }

  get ended(): Promise<void> {
    return this.#link.ended;
  }

  /** Starts or goes on with a worker. */
  async start(...workers: Worker[]): Promise<void> {
    for (const worker of workers) {
      this.#workers.set(worker.name, worker);
      const { name, path, seed, blocks, batch, acknowledged } = worker;
      const command = `write ${name} ${path} ${seed} ${blocks} ${batch} ${acknowledged + 1}`;
      await this.#ask(command, (_line, [word, of]) => word === 'started' && of === name);
    }
  }

  /** All that it has written is durable and acknowledged then. */
  async stop(...workers: Worker[]): Promise<void> {
    for (const { name } of workers) {
      await this.#ask(`stop ${name}`, (_line, [word, of]) => word === 'done' && of === name);
    }
  }

  /** Waits until every worker has had `count` more records acknowledged. */
  async progress(workers: readonly Worker[], count: number): Promise<void> {
    const goals = workers.map((worker) => worker.acknowledged + count);
    await this.until(() => workers.every(({ acknowledged }, i) => acknowledged >= goals[i]));
  }

  /** Waits for something that acknowledgements tell. */
  until(condition: () => boolean): Promise<void> {
    const reached = new Promise<void>((resolve, reject) => {
      if (this.#broken !== null) throw this.#broken;
      if (condition()) return resolve();
      const watcher = {
        look: () => {
          if (!condition()) return;
          this.#watchers.delete(watcher);
          resolve();
        },
        reject,
      };
      this.#watchers.add(watcher);
    });
    return within('records of the workers', reached);
  }

  /** Which record each block of the worker's file holds, read from the disk. Throws for any other content. */
  async records({ path, seed, blocks }: Worker): Promise<Uint32Array> {
    const records = new Uint32Array(blocks);
    const bad: number[] = [];
    await this.#ask(`verify ${path} ${seed} ${blocks}`, (_line, [word, ...numbers]) => {
      const [first, count, n] = numbers.map(Number);
      if (word === 'run') records.fill(n, first, first + count);
      if (word === 'bad') bad.push(first);
      return word === 'verified';
    });
    if (bad.length > 0)
      throw new Error(`${path}: ${bad.length} blocks hold neither zeroes nor a record: ${bad.slice(0, 8)}`);
    return records;
  }

  /** Runs a shell command in the guest; its output. Throws where it fails. */
  async run(command: string): Promise<string> {
    const output: string[] = [];
    let code = 0;
    await this.#ask(`run (${command}) 2>&1`, (line, [word, status]) => {
      if (word === 'out') output.push(line.slice(4));
      code = Number(status);
      return word === 'exit';
    });
    if (code !== 0) throw new Error(`${command}: exit ${code}: ${output.join('\n')}`);
    return output.join('\n');
  }

  /** Sends a command that is not answered, since the guest goes away. */
  farewell(command: string): void {
    this.#link.send(`run ${command}`);
  }

  close(): void {
    this.#link.close();
  }

  #ask(command: string, take: Request['take']): Promise<void> {
    const answered = this.#expect(take);
    this.#link.send(command);
    return within(command, answered);
  }

  #expect(take: Request['take']): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#broken !== null) throw this.#broken;
      const request: Request = {
        take: (line, words) => {
          const last = take(line, words);
          if (last) resolve();
          return last;
        },
        reject,
      };
      this.#requests.push(request);
    });
  }

  #receive(line: string): void {
    const words = line.split(' ');
    const [word, name, n, error] = words;
    if (word === 'ack') {
      const worker = this.#workers.get(name);
      if (worker !== undefined) worker.acknowledged = Number(n);
      for (const watcher of [...this.#watchers]) watcher.look();
    } else if (word === 'fail')
      this.#fail(new Error(`${this.#workers.get(name)?.path}: record ${n}: error ${error} in the guest`));
    else if (word === 'error') this.#requests.shift()?.reject(new Error(line));
    else if (this.#requests[0]?.take(line, words)) this.#requests.shift();
  }

  #fail(error: Error): void {
    this.#broken ??= error;
    for (const { reject } of this.#requests.splice(0)) reject(this.#broken);
    for (const { reject } of this.#watchers) reject(this.#broken);
    this.#watchers.clear();
  }
}
