// Events on their way to the monitors: each gets its time when it happens, and goes to every client that has ended its negotiation.

import type { Clock } from '../host/host.js';
import type { QapiEvents } from '../schema/generated/types.js';
import { Listeners } from '../util/listeners.js';

export interface QmpEvent {
  timestamp: { seconds: number; microseconds: number };
  event: keyof QapiEvents;
  data?: object;
}

export class EventHub {
  readonly #listeners = new Listeners<{ event: QmpEvent }>('monitor event');

  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  emit<K extends keyof QapiEvents>(event: K, data: QapiEvents[K]): void {
    const empty = Object.keys(data).length === 0;
    const { seconds, nanoseconds } = this.#clock.wall();
    const timestamp = { seconds, microseconds: Math.floor(nanoseconds / 1000) };
    this.#listeners.emit('event', { timestamp, event, ...(!empty && { data }) });
  }

  /** Listens to all events; the result ends that. */
  on(listener: (event: QmpEvent) => void): () => void {
    return this.#listeners.on('event', listener);
  }
}
