// Requests of one client: slots of plain arrays, so that a request makes nothing but its promise. A slot outlives the connection
// that its request was sent over: it can be sent again.
//
//   free -> waiting -> sent -> (answered ->) free

import type { StatusRuns } from './status.js';

/** Slots: more requests than that wait outside. */
export const MAX_REQUESTS = 1024;

export const SlotState = { free: 0, waiting: 1, sent: 2, answered: 3 } as const;

export class RequestTable {
  readonly state = new Uint8Array(MAX_REQUESTS);
  readonly command = new Uint8Array(MAX_REQUESTS);
  readonly flags = new Uint16Array(MAX_REQUESTS);
  readonly offset = new Float64Array(MAX_REQUESTS);
  readonly length = new Float64Array(MAX_REQUESTS);
  /** Source or target of the payload; its `length` bytes begin at `start`. */
  readonly buffer: (Uint8Array | null)[] = new Array(MAX_REQUESTS).fill(null);
  readonly start = new Float64Array(MAX_REQUESTS);
  readonly runs: (StatusRuns | null)[] = new Array(MAX_REQUESTS).fill(null);
  /** Counts the uses of a slot, so that an answer to an earlier use is recognised. */
  readonly use = new Uint32Array(MAX_REQUESTS);
  /** Index of the connection that it was sent over. */
  readonly connection = new Uint8Array(MAX_REQUESTS);
  /** Number of its last piece on that connection. */
  readonly lastPiece = new Float64Array(MAX_REQUESTS);
  /** Bytes of a read that have come. */
  readonly received = new Float64Array(MAX_REQUESTS);
  /** Pieces of a read that came out of order: start, end, start, end, ... */
  readonly scattered: (number[] | null)[] = new Array(MAX_REQUESTS).fill(null);
  /** First error that was reported (`NbdError`); 0 for none. */
  readonly error = new Uint32Array(MAX_REQUESTS);
  readonly message: string[] = new Array(MAX_REQUESTS).fill('');
  #resolve: (() => void)[] = [];
  #reject: ((error: unknown) => void)[] = [];
  readonly #free = new Uint16Array(MAX_REQUESTS);
  #freeCount = MAX_REQUESTS;
  #current = 0;
  readonly #keep = (resolve: () => void, reject: (error: unknown) => void): void => {
    this.#resolve[this.#current] = resolve;
    this.#reject[this.#current] = reject;
  };

  constructor() {
    for (let i = 0; i < MAX_REQUESTS; i++) this.#free[i] = MAX_REQUESTS - 1 - i;
  }

  get used(): number {
    return MAX_REQUESTS - this.#freeCount;
  }

  /** A slot in state `waiting`, or -1 where there is none. */
  take(
    command: number,
    flags: number,
    offset: number,
    length: number,
    buffer: Uint8Array | null,
    start: number,
    runs: StatusRuns | null,
  ): number {
    if (this.#freeCount === 0) return -1;
    const slot = this.#free[--this.#freeCount];
    this.state[slot] = SlotState.waiting;
    this.command[slot] = command;
    this.flags[slot] = flags;
    this.offset[slot] = offset;
    this.length[slot] = length;
    this.buffer[slot] = buffer;
    this.start[slot] = start;
    this.runs[slot] = runs;
    return slot;
  }

  /** The promise of a slot: to be called once, right after `take`. */
  promise(slot: number): Promise<void> {
    this.#current = slot;
    return new Promise<void>(this.#keep);
  }

  /** Forgets what an earlier attempt to send it has left. */
  restart(slot: number): void {
    this.use[slot]++;
    this.received[slot] = 0;
    this.scattered[slot] = null;
    this.error[slot] = 0;
    this.message[slot] = '';
    this.runs[slot]?.restart();
  }

  /** Frees the slot, then settles its promise. */
  finish(slot: number, error: unknown): void {
    this.state[slot] = SlotState.free;
    this.buffer[slot] = null;
    this.runs[slot] = null;
    this.#free[this.#freeCount++] = slot;
    if (error === null) this.#resolve[slot]();
    else this.#reject[slot](error);
  }
}
