// Sends the requests of one connection in transmission: in batches, one flush a turn.
//
//   send(slot) send(slot) send(write) send(slot)            at the end of the turn: flush
//
//   ring of headers   | h | h | h | h |        payload
//   pieces pushed     [ 1         ] [ 2 = the write's payload ] [ 3 ]
//
// Headers that follow one another are one piece; a payload ends it, and so does the end of the ring. A header's place is used again after
// as many requests as may be under way, so that it is sent by then. `lastPiece` of a request says which piece ends with it: its memory is
// in use until that piece is sent, even if its answer is there before.

import type { Memory } from '../../../host/host.js';
import type { Link } from '../../../host/net.js';
import { viewOf } from '../../../util/bytes.js';
import { Command, EXTENDED_REQUEST_BYTES, REQUEST_BYTES } from '../../../wire/nbd/constants.js';
import { putDisconnect, putRequest } from '../../../wire/nbd/headers.js';
import type { Negotiated } from './handshake.js';
import type { RequestTable } from './requests.js';

/** Requests under way on one connection. */
export const MAX_IN_FLIGHT = 128;
/** Places in the ring: one more, for the disconnect. */
const PLACES = MAX_IN_FLIGHT + 1;

export class RequestSender {
  readonly #memory: Memory;
  readonly #link: Link;
  readonly #table: RequestTable;
  readonly #extended: boolean;
  readonly #headers: Uint8Array;
  readonly #view: DataView;
  readonly #headerBytes: number;
  /** Requests so far: each has its place in `#headers`. */
  #requests = 0;
  /** Headers that are not pushed yet, in one piece: place of the first, and how many. */
  #unpushed = 0;
  #count = 0;
  /** Pieces that were pushed on the link. */
  #pushed: number;

  constructor(memory: Memory, { link, pushed, extended }: Negotiated, table: RequestTable) {
    this.#memory = memory;
    this.#link = link;
    this.#table = table;
    this.#extended = extended;
    this.#pushed = pushed;
    this.#headerBytes = extended ? EXTENDED_REQUEST_BYTES : REQUEST_BYTES;
    this.#headers = memory.allocate(PLACES * EXTENDED_REQUEST_BYTES);
    this.#view = viewOf(this.#headers);
  }

  /** Sends the request of a slot with the next flush. What is written must lie in memory of the host. */
  send(slot: number): void {
    const table = this.#table;
    putRequest(this.#view, this.#nextPlace(), table, slot, this.#extended);
    this.#count++;
    if (table.command[slot] === Command.write) {
      this.#push();
      const start = table.start[slot];
      this.#link.push(table.buffer[slot]!, start, start + table.length[slot]);
      table.lastPiece[slot] = ++this.#pushed;
    } else {
      table.lastPiece[slot] = this.#pushed + 1;
    }
  }

  /** Says goodbye; nothing may be sent after it. */
  disconnect(): void {
    putDisconnect(this.#view, this.#nextPlace(), this.#extended);
    this.#count++;
    this.flush();
  }

  /** Hands over what was sent since the last flush. True where all of it was taken at once. */
  flush(): boolean {
    this.#push();
    return this.#link.flush();
  }

  /** The link uses the memory no more. */
  release(): void {
    this.#memory.free(this.#headers);
  }

  /** Place of the next header in `#headers`. */
  #nextPlace(): number {
    const place = this.#requests++ % PLACES;
    // A batch is one piece: it ends where the ring does.
    if (place === 0) this.#push();
    return place * this.#headerBytes;
  }

  #push(): void {
    if (this.#count === 0) return;
    const start = this.#unpushed * this.#headerBytes;
    this.#link.push(this.#headers, start, start + this.#count * this.#headerBytes);
    this.#pushed++;
    this.#unpushed = (this.#unpushed + this.#count) % PLACES;
    this.#count = 0;
  }
}
