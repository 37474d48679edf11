// What the commands of a monitor work with. All monitors of a daemon have one.

import type { Graph } from '../block/graph.js';
import { GRAPH_EVENTS } from '../block/graph-events.js';
import type { JobEnvironment } from '../jobs/job-type.js';
import { JobManager } from '../jobs/manager.js';
import type { CommandLineOptionInfo } from '../schema/generated/types.js';
import type { Generations } from '../schema/introspect.js';
import { BlockError } from '../util/errors.js';
import { Drives } from '../workspace/drives.js';
import { Exports } from '../workspace/exports.js';
import { MonitorNodes } from '../workspace/monitor-nodes.js';
import { Chardevs } from './chardev/chardevs.js';
import { jobErrorText } from './error.js';
import { EventHub } from './events.js';

export interface ContextOptions {
  /** `query-version`: name and version of the program. */
  package: string;
  /** The options of the program's command line. Default: it has none that a monitor tells of. */
  commandLine?: () => CommandLineOptionInfo[];
  /** Older QMPs whose commands are there, too. Default: none. */
  generations?: Generations;
  /** Called by `quit`: the daemon is to end. */
  quit: () => void;
  /** Commands wait until it resolves: the command line is carried out first. Default: they do not wait. */
  ready?: Promise<void>;
}

export class QmpContext {
  readonly graph: Graph;
  readonly manager: JobManager;
  readonly jobs: JobEnvironment;
  readonly nodes: MonitorNodes;
  readonly drives: Drives;
  readonly exports: Exports;
  readonly chardevs: Chardevs;
  readonly events: EventHub;
  readonly package: string;
  readonly commandLine: () => CommandLineOptionInfo[];
  readonly generations: Generations;
  readonly quit: () => void;
  readonly ready: Promise<void>;
  /** Commands that are under way. */
  readonly #running = new Set<Promise<unknown>>();
  #closing = false;
  /** Clients that may pass descriptors. */
  #passers = 0;

  /** `graph` is the context's from now on: `close` closes all of its nodes. */
  constructor(
    graph: Graph,
    { package: name, commandLine = () => [], generations = new Set(), quit, ready = Promise.resolve() }: ContextOptions,
  ) {
    const { clock } = graph.host;
    this.ready = ready;
    this.package = name;
    this.commandLine = commandLine;
    this.generations = generations;
    this.events = new EventHub(clock);
    this.quit = quit;
    this.graph = graph;
    this.manager = new JobManager(clock, jobErrorText);
    this.jobs = { graph: this.graph, manager: this.manager, warn: this.graph.warn, filters: true };
    this.chardevs = new Chardevs(graph);
    this.nodes = new MonitorNodes(this.graph);
    for (const name of GRAPH_EVENTS) this.graph.events.on(name, (data) => this.events.emit(name, data));
    this.drives = new Drives(this.graph, (event, data) => this.events.emit(event, data));
    this.exports = new Exports(this.graph, this.drives, (id) => this.events.emit('BLOCK_EXPORT_DELETED', { id }));
    this.manager.events.onAny(({ event, data }) => this.events.emit(event, data));
  }

  passerCame(): void {
    this.#passers++;
  }

  /** With the last one go the sets of descriptors that nobody has used. */
  passerLeft(): void {
    this.#passers--;
    if (this.#passers === 0) this.graph.host.passed.forgetUnused();
  }

  /** Runs a command: `close` waits for it, and closes what it leaves open. Rejects with `closed` once that was called. */
  async run<T>(action: () => Promise<T>): Promise<T> {
    if (this.#closing) throw new BlockError('closed', 'The daemon is about to end');
    const run = action();
    this.#running.add(run);
    try {
      return await run;
    } finally {
      this.#running.delete(run);
    }
  }

  /** Cancels all jobs, ends all exports and closes all nodes. Each is tried; rejects with the first error. */
  async close(): Promise<void> {
    this.#closing = true;
    this.graph.abortStalled();
    this.drives.unlimit();
    try {
      await this.#endAll();
      while (this.#running.size > 0) {
        await Promise.allSettled(this.#running);
        await this.#endAll();
      }
    } finally {
      try {
        await this.drives.close();
        await this.graph.closeAll();
      } finally {
        this.events.close();
      }
    }
  }

  async #endAll(): Promise<void> {
    await this.manager.cancelAll();
    await this.exports.close();
  }
}
