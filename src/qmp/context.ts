// What the commands of a monitor work with. All monitors of a daemon have one.

import { Graph, type GraphOptions } from '../block/graph.js';
import type { Host } from '../host/host.js';
import type { JobEnvironment } from '../jobs/job-type.js';
import { JobManager } from '../jobs/manager.js';
import { Exports } from '../workspace/exports.js';
import { MonitorNodes } from '../workspace/monitor-nodes.js';
import { EventHub } from './events.js';

export interface ContextOptions extends GraphOptions {
  /** `query-version`: name and version of the program. */
  package: string;
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
  readonly exports: Exports;
  readonly events: EventHub;
  readonly package: string;
  readonly quit: () => void;
  readonly ready: Promise<void>;

  constructor(host: Host, { package: name, quit, ready = Promise.resolve(), ...graph }: ContextOptions) {
    this.ready = ready;
    this.package = name;
    this.events = new EventHub(host.clock);
    this.quit = quit;
    this.graph = new Graph(host, graph);
    this.manager = new JobManager(host.clock);
    this.jobs = { graph: this.graph, manager: this.manager, warn: this.graph.warn };
    this.nodes = new MonitorNodes(this.graph);
    this.exports = new Exports(this.graph, (id) => this.events.emit('BLOCK_EXPORT_DELETED', { id }));
    this.manager.events.onAny(({ event, data }) => this.events.emit(event, data));
  }

  /** Cancels all jobs, ends all exports and closes all nodes. Each is tried; rejects with the first error. */
  async close(): Promise<void> {
    this.graph.abortStalled();
    await this.manager.cancelAll();
    try {
      await this.exports.close();
    } finally {
      await this.graph.closeAll();
    }
  }
}
