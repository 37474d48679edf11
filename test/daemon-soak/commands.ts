// Random commands to a daemon with some disks: jobs of all types and their verbs, snapshots, bitmaps, transactions, exports, nodes, queries.
// Most of them mean something; what is refused is refused.

import type { Random } from '../../src/host/sim/random.js';
import type { Json } from '../support/qmp.js';

export interface Command {
  execute: string;
  arguments?: Json;
}

export class SoakCommands {
  readonly #random: Random;
  readonly #folder: string;
  readonly #exports: readonly string[];
  /** Node that each export is on, as last heard. */
  readonly #nodes: Map<string, string>;
  #next = 0;

  /** `nodes` is kept up to date by the caller. */
  constructor(random: Random, folder: string, nodes: Map<string, string>) {
    this.#random = random;
    this.#folder = folder;
    this.#exports = [...nodes.keys()];
    this.#nodes = nodes;
  }

  /** `jobs`: ids of those that are there. */
  next(jobs: readonly string[]): Command {
    const draw = this.#random.fraction();
    if (jobs.length > 0 && draw < 0.45) return this.#verb(this.#pick(jobs));
    if (draw < 0.6) return this.#job();
    if (draw < 0.68) return this.#snapshot();
    if (draw < 0.85) return this.#bitmap();
    if (draw < 0.9) return this.#transaction();
    return this.#query();
  }

  #pick<T>(from: readonly T[]): T {
    return from[this.#random.below(from.length)];
  }

  #device(): string {
    return this.#nodes.get(this.#pick(this.#exports)) as string;
  }

  #fresh(what: string): string {
    return `${what}${this.#next++}`;
  }

  #verb(id: string): Command {
    const execute = this.#pick([
      ...['job-pause', 'job-resume', 'job-resume', 'job-complete', 'job-complete', 'job-finalize', 'job-finalize'],
      ...['job-dismiss', 'job-dismiss', 'job-cancel', 'block-job-set-speed', 'block-job-cancel'],
    ]);
    if (!execute.startsWith('block-job')) return { execute, arguments: { id } };
    const speed = this.#pick([0, 1 << 20, 16 << 20]);
    return { execute, arguments: execute === 'block-job-cancel' ? { device: id } : { device: id, speed } };
  }

  #common(): Json {
    return {
      'job-id': this.#fresh('j'),
      speed: this.#pick([0, 0, 4 << 20, 32 << 20]),
      'auto-finalize': this.#random.fraction() < 0.7,
      'auto-dismiss': this.#random.fraction() < 0.7,
    };
  }

  #job(): Command {
    const device = this.#device();
    const common = this.#common();
    const target = `${this.#folder}/${this.#fresh('copy')}.qcow2`;
    switch (this.#random.below(6)) {
      case 0:
        return { execute: 'block-commit', arguments: { ...common, device } };
      case 1:
        return { execute: 'block-stream', arguments: { ...common, device } };
      case 2:
      case 3: {
        const sync = this.#pick(['full', 'top']);
        const mode = this.#pick(['background', 'write-blocking']);
        const words = { ...common, device, target, sync, 'copy-mode': mode, format: 'qcow2' };
        return { execute: 'drive-mirror', arguments: words };
      }
      default: {
        const sync = this.#pick(['full', 'top', 'none']);
        return { execute: 'drive-backup', arguments: { ...common, device, target, sync, format: 'qcow2' } };
      }
    }
  }

  #snapshot(): Command {
    const file = `${this.#folder}/${this.#fresh('over')}.qcow2`;
    const words = { 'node-name': this.#device(), 'snapshot-file': file, 'snapshot-node-name': this.#fresh('n') };
    return { execute: 'blockdev-snapshot-sync', arguments: words };
  }

  #bitmap(): Command {
    const verb = this.#pick(['add', 'add', 'remove', 'clear', 'enable', 'disable']);
    return {
      execute: `block-dirty-bitmap-${verb}`,
      arguments: { node: this.#device(), name: this.#pick(['b0', 'b1']) },
    };
  }

  #transaction(): Command {
    const actions = this.#exports.slice(0, 2).map((name) => {
      const device = this.#nodes.get(name) as string;
      const target = `${this.#folder}/${this.#fresh('copy')}.qcow2`;
      return {
        type: 'drive-backup',
        data: { 'job-id': this.#fresh('j'), device, target, sync: 'full', format: 'qcow2' },
      };
    });
    const properties = { 'completion-mode': this.#pick(['individual', 'grouped']) };
    return { execute: 'transaction', arguments: { actions, properties } };
  }

  #query(): Command {
    const queries = [
      'query-jobs',
      'query-block-jobs',
      'query-named-block-nodes',
      'query-block-exports',
      'query-blockstats',
    ];
    return { execute: this.#pick(queries) };
  }
}
