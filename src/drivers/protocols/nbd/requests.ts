// Requests of one client, in slots of typed arrays, so that the only object of a request is its promise. A slot outlives the connection that its
// request was sent over, so that the request can be sent again over another one.
//
//   free -> waiting -> sent -> (answered ->) free        answered: the reply has come, but the request's memory is still being sent
//              ^--------'  the connection was lost

import type { SentFile } from '../../../host/net.js';
import type { StatusRuns } from './status.js';

/** Number of slots. Further requests wait until one is free. */
export const MAX_REQUESTS = 1024;

export const SlotState = { free: 0, waiting: 1, sent: 2, answered: 3 } as const;

export class RequestTable {
  readonly state = new Uint8Array(MAX_REQUESTS);
  readonly command = new Uint8Array(MAX_REQUESTS);
  readonly flags = new Uint16Array(MAX_REQUESTS);
  readonly offset = new Float64Array(MAX_REQUESTS);
  readonly length = new Float64Array(MAX_REQUESTS);
  /** Source or target of the payload, whose `length` bytes begin at `start`. */
  readonly buffer: (Uint8Array | null)[] = new Array(MAX_REQUESTS).fill(null);
  readonly start = new Float64Array(MAX_REQUESTS);
  /** Where the payload of a write is not in `buffer` but in a file, from `start` on. */
  readonly file: (SentFile | null)[] = new Array(MAX_REQUESTS).fill(null);
  readonly runs: (StatusRuns | null)[] = new Array(MAX_REQUESTS).fill(null);
  /** Counts the uses of a slot, so that a reply to an earlier request of the slot is recognised. */
  readonly use = new Uint32Array(MAX_REQUESTS);
  /** Index of the connection that the request was sent over. */
  readonly connection = new Uint8Array(MAX_REQUESTS);
  /** Number of the request's last piece on that connection. */
  readonly lastPiece = new Float64Array(MAX_REQUESTS);
  /** Bytes of a read that have been received. */
  readonly received = new Float64Array(MAX_REQUESTS);
  /** Pieces of a read that were received out of order: start, end, start, end, ... */
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

  /** Takes a free slot and puts it into state `waiting`; -1 where none is free. */
  take(
    command: number,
    flags: number,
    offset: number,
    length: number,
    buffer: Uint8Array | null,
    start: number,
    runs: StatusRuns | null,
    file: SentFile | null,
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
    this.file[slot] = file;
    return slot;
  }

  /** Makes the promise of a slot. To be called once, right after `take`. */
  promise(slot: number): Promise<void> {
    this.#current = slot;
    return new Promise<void>(this.#keep);
  }

  /** Resets the results of an earlier attempt to send the request. */
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
    this.file[slot] = null;
    this.#free[this.#freeCount++] = slot;
    if (error === null) this.#resolve[slot]();
    else this.#reject[slot](error);
  }
}
