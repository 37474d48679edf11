// What one client sends in transmission: bytes become requests in slots of the table.
//
//   block of all connections   [ gap | header | header payload | header pay.. ]
//                                |                                     |
//                                |                                     +- the rest of a payload is received straight into its slot
//                                +- the beginning of a header that came with the last receive is put in front of what comes next
//
//   received --> header --> valid? --no--> refuse, once its payload is out of the way
//                             |
//                             +--> room? --no--> hold all that is left, and read no further until there is some (`resume`)
//                                   |
//                                   +--> slot, payload --> begin
//
// The receiver is in one of four states: it expects a header (the usual one), fills the payload of a slot, skips the payload of a refused
// request, or holds what it may not take yet. Each says what the link has to deliver next (`window`).

import type { Link } from '../../host/net.js';
import { HIGH_WORD, viewBe64, viewOf } from '../../util/bytes.js';
import { BlockError } from '../../util/errors.js';
import { Command, NbdError } from '../../wire/nbd/constants.js';
import { DIALECTS, type Dialect, hasPayload, RequestField, requestLength } from '../../wire/nbd/headers.js';
import { blockStatusBytes, CACHE_PIECE_BYTES } from './commands.js';
import { checkRequest, NO_ERROR, type Terms } from './request-check.js';
import { DATA_START, type RequestTable } from './requests.js';
import { RECEIVE_GAP, type Shared } from './shared.js';

/** After a payload of this size only a header is asked for next: another such payload then comes straight into its slot. */
const LARGE_PAYLOAD_BYTES = 64 * 1024;
const NONE = -1;

/** What a receiver does with requests, and asks about them. */
export interface ReceiverUser {
  /** More requests may be taken: the connection is not about to end. */
  readonly open: boolean;
  /** The client does not take its replies: nothing more should be begun for it. */
  readonly backlogged: boolean;
  /** Takes `cost` bytes for a request from the budget; false where it has to wait for them. */
  takeBytes(cost: number): boolean;
  /** So many bytes of a payload have come. */
  moved(bytes: number): void;
  /** The request in `slot` is complete. */
  begin(slot: number): void;
  /** The request in `slot` is answered with `error` (`NbdError`). */
  refuse(slot: number, error: number): void;
  /** The slot is not used. */
  release(slot: number): void;
  /** The client has sent DISC: it is about to leave. */
  disconnected(): void;
  /** What the client sends is no request. */
  drop(): void;
}

export class Receiver {
  readonly #shared: Shared;
  readonly #table: RequestTable;
  readonly #terms: Terms;
  readonly #user: ReceiverUser;
  readonly #requestBytes: number;
  readonly #requestMagic: number;
  /** The beginning of a header. */
  #partial: Uint8Array | null = null;
  #partialBytes = 0;
  /** The slot whose payload is being received, and how much of it is there. */
  #filling = NONE;
  #filled = 0;
  /** Bytes of a refused request's payload that are still to come; then its slot is answered with the error. */
  #skip = 0;
  #skipSlot = NONE;
  #skipError = NO_ERROR;
  #headerOnly = false;
  #held: Uint8Array | null = null;

  /** `terms.size` may change meanwhile. */
  constructor(shared: Shared, dialect: Dialect, terms: Terms, user: ReceiverUser) {
    this.#shared = shared;
    this.#table = shared.table;
    this.#terms = terms;
    this.#user = user;
    const { requestBytes, requestMagic } = DIALECTS[dialect];
    this.#requestBytes = requestBytes;
    this.#requestMagic = requestMagic;
  }

  /** Something was received for which there is no room yet. */
  get holding(): boolean {
    return this.#held !== null;
  }

  /** It waits for the rest of a payload. */
  get filling(): boolean {
    return this.#filling !== NONE;
  }

  /** `count` bytes have come to where `window` asked for them. */
  received(count: number): void {
    if (this.#filling !== NONE) {
      this.#receivedPayload(count);
      return;
    }
    const { block, view } = this.#shared;
    const start = RECEIVE_GAP - this.#partialBytes;
    for (let i = 0; i < this.#partialBytes; i++) block[start + i] = (this.#partial as Uint8Array)[i];
    this.#partialBytes = 0;
    this.#parse(block, view, start, RECEIVE_GAP + count);
  }

  /** Goes on with what it holds: there may be room now. */
  resume(): void {
    const held = this.#held as Uint8Array;
    this.#held = null;
    this.#parse(held, viewOf(held), 0, held.length);
  }

  /** Tells the link where the next bytes go. */
  window(link: Link): void {
    if (this.#filling !== NONE) {
      const payload = this.#table.length[this.#filling];
      const buffer = this.#table.buffer[this.#filling] as Uint8Array;
      link.window(buffer, DATA_START + this.#filled, DATA_START + payload, true);
    } else {
      const { block } = this.#shared;
      const end = this.#headerOnly ? RECEIVE_GAP + this.#requestBytes - this.#partialBytes : block.length;
      link.window(block, RECEIVE_GAP, end);
    }
  }

  /** Forgets what it holds: nothing more is taken. */
  stop(): void {
    this.#held = null;
  }

  /** Releases the slots of requests that did not come to their end. The link uses no memory any more. */
  abandon(): void {
    for (const slot of [this.#filling, this.#skipSlot]) if (slot !== NONE) this.#user.release(slot);
    this.#filling = NONE;
    this.#skipSlot = NONE;
  }

  #parse(bytes: Uint8Array, view: DataView, start: number, end: number): void {
    const user = this.#user;
    for (let at = start; at < end && user.open; ) {
      if (this.#skip > 0) {
        at += this.#skipPayload(end - at);
        continue;
      }
      if (end - at < this.#requestBytes) {
        this.#keepPartial(bytes, at, end);
        return;
      }
      if (view.getUint32(at) !== this.#requestMagic) {
        user.drop();
        return;
      }
      const used = user.backlogged ? 0 : this.#take(bytes, view, at, end);
      if (used === 0) {
        this.#held = bytes === this.#shared.block ? bytes.slice(at, end) : bytes.subarray(at, end);
        return;
      }
      at += used;
    }
  }

  /** Takes the request at `at`, and as much of its payload as is there. Returns the bytes used; 0 where it must wait. */
  #take(bytes: Uint8Array, view: DataView, at: number, end: number): number {
    const terms = this.#terms;
    const { extended } = terms;
    const flags = view.getUint16(at + RequestField.flags);
    const command = view.getUint16(at + RequestField.command);
    const offset = viewBe64(view, at + RequestField.offset);
    const length = requestLength(view, at, extended);
    if (command === Command.disconnect) {
      this.#user.disconnected();
      return this.#requestBytes;
    }
    const payload = hasPayload(command, flags, extended) ? length : 0;
    const error = checkRequest(command, flags, offset, length, terms);
    const data =
      command === Command.read ? length : command === Command.cache ? Math.min(length, CACHE_PIECE_BYTES) : payload;
    const reply = command === Command.blockStatus ? blockStatusBytes(terms.contexts, flags) : 0;
    const table = this.#table;
    const cost = error === NO_ERROR ? table.costOf(Math.max(data, reply)) : 0;
    if (!this.#user.takeBytes(cost)) return 0;
    const slot = table.take();
    table.cookieHigh[slot] = view.getUint32(at + RequestField.cookieHigh);
    table.cookieLow[slot] = view.getUint32(at + RequestField.cookieLow);
    table.offset[slot] = offset;
    table.length[slot] = length;
    table.cost[slot] = cost;
    table.command[slot] = command;
    table.flags[slot] = flags;
    if (error !== NO_ERROR) this.#refuse(slot, error, payload);
    else if (data > 0 && !this.#allocate(slot, data)) this.#refuse(slot, NbdError.noMemory, payload);
    else if (payload > 0) return this.#requestBytes + this.#takePayload(slot, bytes, at + this.#requestBytes, end);
    else {
      this.#headerOnly = false;
      this.#user.begin(slot);
    }
    return this.#requestBytes;
  }

  #allocate(slot: number, bytes: number): boolean {
    try {
      this.#table.allocate(slot, bytes);
      return true;
    } catch (error) {
      if (error instanceof BlockError && error.code === 'limit') return false;
      throw error;
    }
  }

  /** Answers with an error, once the payload is out of the way. */
  #refuse(slot: number, error: number, payload: number): void {
    if (payload === 0) {
      this.#user.refuse(slot, error);
      return;
    }
    // No client means this many bytes.
    if (payload >= HIGH_WORD) {
      this.#user.release(slot);
      this.#user.drop();
      return;
    }
    this.#skip = payload;
    this.#skipSlot = slot;
    this.#skipError = error;
  }

  #skipPayload(available: number): number {
    const part = Math.min(this.#skip, available);
    this.#skip -= part;
    if (this.#skip === 0) {
      const slot = this.#skipSlot;
      this.#skipSlot = NONE;
      this.#user.refuse(slot, this.#skipError);
    }
    return part;
  }

  #takePayload(slot: number, bytes: Uint8Array, from: number, end: number): number {
    const payload = this.#table.length[slot];
    const part = Math.min(payload, end - from);
    const buffer = this.#table.buffer[slot] as Uint8Array;
    if (part > 0) buffer.set(bytes.subarray(from, from + part), DATA_START);
    if (part === payload) {
      this.#headerOnly = false;
      this.#user.begin(slot);
    } else {
      this.#filling = slot;
      this.#filled = part;
    }
    return part;
  }

  #receivedPayload(count: number): void {
    const slot = this.#filling;
    this.#filled += count;
    this.#user.moved(count);
    const payload = this.#table.length[slot];
    if (this.#filled < payload) return;
    this.#filling = NONE;
    this.#headerOnly = payload >= LARGE_PAYLOAD_BYTES;
    this.#user.begin(slot);
  }

  #keepPartial(bytes: Uint8Array, at: number, end: number): void {
    this.#partial ??= new Uint8Array(this.#requestBytes);
    for (let i = at; i < end; i++) this.#partial[i - at] = bytes[i];
    this.#partialBytes = end - at;
  }
}
