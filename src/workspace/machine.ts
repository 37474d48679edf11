// Whether the devices of a daemon run, as a virtual machine's do: all of them, or none.
//
//   running --stop--> paused         --cont--> running
//           --a request failed, and its device's policy is to stop--> io-error --cont--> running
//
// While they do not run, requests to devices wait. What was sent to nodes before goes on.

import { type Device, rootOf } from '../block/device.js';
import type { RunState } from '../schema/generated/types.js';
import { bestEffort } from '../util/best-effort.js';

export interface RunEvents {
  stopped(): void;
  resumed(): void;
}

export class Machine {
  readonly #devices = new Set<Device>();
  readonly #events: RunEvents;
  #state: RunState = 'running';

  constructor(events: RunEvents) {
    this.#events = events;
  }

  get state(): RunState {
    return this.#state;
  }

  get running(): boolean {
    return this.#state === 'running';
  }

  add(device: Device): void {
    this.#devices.add(device);
    if (!this.running) device.hold();
  }

  remove(device: Device): void {
    this.#devices.delete(device);
  }

  /** From now on all requests wait. Where they do already, the state stays what it is. */
  hold(state: 'paused' | 'io-error'): void {
    if (!this.running) return;
    this.#state = state;
    for (const device of this.#devices) device.hold();
    this.#events.stopped();
  }

  /** The same, and waits for what is under way, and for its flush. */
  async stop(): Promise<void> {
    this.hold('paused');
    for (const device of [...this.#devices]) {
      await device.drained();
      // As a machine's: who resumes it learns of what is lost at the next flush.
      if (device.writable) await rootOf(device).flush().catch(bestEffort('stop'));
    }
  }

  resume(): void {
    if (this.running) return;
    this.#state = 'running';
    for (const device of this.#devices) device.resume();
    this.#events.resumed();
  }
}
