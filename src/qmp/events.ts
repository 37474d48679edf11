// Events on their way to the monitors: each gets its time when it happens, and goes to every client that has ended its negotiation.
//
// Events that may come with each request of a guest are limited to one a second, as in QEMU (docs/interop/qmp-spec): the first one goes at once; of
// those that follow within a second, the last one goes when the second is over.
//
//   happens   A1 A2 A3      A4
//   sent      A1 ----1 s--> A3 ----1 s--> A4 ...

import type { Clock } from '../host/host.js';
import type { QapiEvents } from '../schema/generated/types.js';
import { Listeners } from '../util/listeners.js';

export interface QmpEvent {
  timestamp: { seconds: number; microseconds: number };
  event: keyof QapiEvents;
  data?: object;
}

const LIMIT_MS = 1000;

/** Events that are limited, each with the member by which they are told apart; null: all of the name are one. */
const LIMITED: { readonly [K in keyof QapiEvents]?: string | null } = {
  QUORUM_FAILURE: null,
  QUORUM_REPORT_BAD: 'node-name',
};

/** An event of a kind that was sent less than a second ago. */
interface Limit {
  /** The last one since; null: none. */
  held: QmpEvent | null;
  cancel: () => void;
}

export class EventHub {
  readonly #listeners = new Listeners<{ event: QmpEvent }>('monitor event');
  readonly #clock: Clock;
  readonly #limits = new Map<string, Limit>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  emit<K extends keyof QapiEvents>(event: K, data: QapiEvents[K]): void {
    const empty = Object.keys(data).length === 0;
    const { seconds, nanoseconds } = this.#clock.wall();
    const timestamp = { seconds, microseconds: Math.floor(nanoseconds / 1000) };
    const made: QmpEvent = { timestamp, event, ...(!empty && { data }) };
    const member = LIMITED[event];
    if (member === undefined) this.#send(made);
    else this.#sendLimited(member === null ? event : `${event} ${String(Reflect.get(data, member))}`, made);
  }

  /** Listens to all events; the result ends that. */
  on(listener: (event: QmpEvent) => void): () => void {
    return this.#listeners.on('event', listener);
  }

  /** Sends what is held back. */
  close(): void {
    for (const { held, cancel } of this.#limits.values()) {
      cancel();
      if (held !== null) this.#send(held);
    }
    this.#limits.clear();
  }

  #send(event: QmpEvent): void {
    this.#listeners.emit('event', event);
  }

  #sendLimited(kind: string, event: QmpEvent): void {
    const limit = this.#limits.get(kind);
    if (limit !== undefined) limit.held = event;
    else {
      this.#send(event);
      this.#limit(kind);
    }
  }

  #limit(kind: string): void {
    const cancel = this.#clock.timer(LIMIT_MS, () => {
      const held = this.#limits.get(kind)?.held ?? null;
      this.#limits.delete(kind);
      if (held === null) return;
      this.#send(held);
      this.#limit(kind);
    });
    this.#limits.set(kind, { held: null, cancel });
  }
}
