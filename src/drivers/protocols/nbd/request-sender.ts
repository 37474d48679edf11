// Sends the requests of one connection in transmission: in batches, one flush a turn.
//
//   send(slot) send(slot) send(write) send(slot)            at the end of the turn: flush
//
//   ring of headers   | h | h | h | h |        payload
//   pieces pushed     [ 1         ] [ 2 = the write's payload ] [ 3 ]        a payload that lies in a file: pages of it, held by the link
//
// Consecutive headers are one piece; a payload ends the piece, and so does the end of the ring. The ring has a place for each request that may be
// under way, so that a header has been sent when its place is used again. `lastPiece` of a request is the number of the piece that it ends with: the
// request's memory is in use until that piece is sent, even if the reply comes earlier.

import type { Memory } from '../../../host/host.js';
import type { Link, SentFile } from '../../../host/net.js';
import { reportUnless } from '../../../util/best-effort.js';
import { viewOf } from '../../../util/bytes.js';
import { Command, EXTENDED_REQUEST_BYTES, REQUEST_BYTES } from '../../../wire/nbd/constants.js';
import { putDisconnect, putRequest } from '../../../wire/nbd/headers.js';
import type { Negotiated } from './handshake.js';
import type { RequestTable } from './requests.js';

/** Requests under way on one connection. */
export const MAX_IN_FLIGHT = 128;
/** Places in the ring: one more than requests, for the disconnect request. */
const PLACES = MAX_IN_FLIGHT + 1;

export class RequestSender {
  readonly #memory: Memory;
  readonly #link: Link;
  readonly #table: RequestTable;
  readonly #extended: boolean;
  readonly #headers: Uint8Array;
  readonly #view: DataView;
  readonly #headerBytes: number;
  /** Number of requests so far, which determines the place of the next in `#headers`. */
  #requests = 0;
  /** Headers that are not pushed yet, which form one piece: place of the first, and their number. */
  #unpushed = 0;
  #count = 0;
  /** Number of pieces that were pushed on the link. */
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

  /**
   * Sends the request of a slot with the next flush. The payload of a write must be in memory of the host, or in a file. False, and it is not sent, where
   * the link cannot hold that part of the file.
   */
  send(slot: number): boolean {
    const table = this.#table;
    putRequest(this.#view, this.#nextPlace(), table, slot, this.#extended);
    this.#count++;
    const file = table.file[slot];
    if (file !== null) {
      const pieces = this.#pushFile(file, table.start[slot], table.length[slot]);
      if (pieces === 0) {
        // Its header was the last one.
        this.#count--;
        this.#requests--;
        return false;
      }
      this.#headersPushed();
      this.#pushed += pieces;
      table.lastPiece[slot] = this.#pushed;
    } else if (table.command[slot] === Command.write) {
      this.#push();
      const start = table.start[slot];
      this.#link.push(table.buffer[slot]!, start, start + table.length[slot]);
      table.lastPiece[slot] = ++this.#pushed;
    } else {
      table.lastPiece[slot] = this.#pushed + 1;
    }
    return true;
  }

  /** Sends the disconnect request; nothing may be sent after it. */
  disconnect(): void {
    putDisconnect(this.#view, this.#nextPlace(), this.#extended);
    this.#count++;
    this.flush();
  }

  /** Passes the requests since the last flush to the link. True where the system took all of them at once. */
  flush(): boolean {
    this.#push();
    return this.#link.flush();
  }

  /** Frees the memory. The link must not use it any more. */
  release(): void {
    this.#memory.free(this.#headers);
  }

  /** Place of the next header in `#headers`. */
  #nextPlace(): number {
    const place = this.#requests++ % PLACES;
    // A piece is contiguous memory, so it ends with the ring.
    if (place === 0) this.#push();
    return place * this.#headerBytes;
  }

  #push(): void {
    if (this.#count === 0) return;
    const start = this.#unpushed * this.#headerBytes;
    this.#link.push(this.#headers, start, start + this.#count * this.#headerBytes);
    this.#pushed++;
    this.#headersPushed();
  }

  /** Pushes the headers and the bytes of a file behind them. Returns the number of pieces; 0, and nothing is pushed, where that cannot be. */
  #pushFile(file: SentFile, from: number, length: number): number {
    const start = this.#unpushed * this.#headerBytes;
    const end = start + this.#count * this.#headerBytes;
    try {
      return this.#link.pushFile(this.#headers, start, end, file, from, length);
    } catch (error) {
      // Whoever reads the file, or takes memory for it, learns of these.
      reportUnless('nbd client', error, 'limit', 'closed');
      return 0;
    }
  }

  #headersPushed(): void {
    this.#unpushed = (this.#unpushed + this.#count) % PLACES;
    this.#count = 0;
  }
}
