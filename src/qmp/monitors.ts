// The monitors of a daemon, each at a character device (`--monitor`).

import type { MonitorOptions } from '../schema/generated/types.js';
import { BlockError } from '../util/errors.js';
import type { QmpContext } from './context.js';
import { Monitor } from './monitor.js';

export class Monitors {
  readonly #context: QmpContext;
  readonly #monitors: Monitor[] = [];

  constructor(context: QmpContext) {
    this.#context = context;
  }

  /** Throws `not-found`, `unsupported` (readline), `busy`. */
  add({ chardev, mode = 'control', pretty }: MonitorOptions): void {
    if (mode !== 'control') throw new BlockError('unsupported', 'Only QMP is supported');
    const monitor = new Monitor(this.#context, { pretty });
    this.#context.chardevs.attach(chardev, monitor);
    this.#monitors.push(monitor);
  }

  /** Ends all monitors, what was written to their clients is sent first; then closes all character devices. */
  async close(): Promise<void> {
    await Promise.all(this.#monitors.map((monitor) => monitor.close()));
    await this.#context.chardevs.close();
  }
}
