// One connection in the transmission phase: the requests under way on it, and its end.
//
//   send(slot) --> RequestSender --pieces--> link --bytes--> ReplyParser --> replied(slot) --> user.answered
//                                                                               |
//                   the request is not completely sent, so its memory is in use: `early`, until the link has progressed
//
//   open --the link breaks, or the server breaks the protocol--> lost: the user sends those under way again, or fails them
//     \--close--> closed

import type { Host } from '../../../host/host.js';
import type { Link, LinkOwner } from '../../../host/net.js';
import { BlockError } from '../../../util/errors.js';
import type { Negotiated } from './handshake.js';
import { ReplyParser, type ReplyUser } from './reply-parser.js';
import { MAX_IN_FLIGHT, RequestSender } from './request-sender.js';
import { type RequestTable, SlotState } from './requests.js';

/** The user of a connection: the client. */
export interface ConnectionUser {
  /** The request in `slot` was answered with `error`: 0, or a number of `NbdError`. */
  answered(connection: Connection, slot: number, error: number): void;
  /** The request in `slot` cannot be sent from its file: it is not under way any more. */
  notHeld(slot: number): void;
  /** Called after `answered` was called for all replies that were received together. */
  settled(): void;
  /** The connection is closed and does not use the memory of requests any more. Requests under way are still in state `sent`. */
  lost(connection: Connection, error: BlockError): void;
}

export class Connection implements LinkOwner, ReplyUser {
  readonly index: number;
  readonly negotiated: Negotiated;
  inFlight = 0;
  /** The connection accepts requests. */
  open = true;
  readonly #link: Link;
  readonly #user: ConnectionUser;
  readonly #table: RequestTable;
  readonly #sender: RequestSender;
  readonly #parser: ReplyParser;
  #flushScheduled = false;
  /** Requests that were answered before they were sent completely. */
  #early: number[] = [];
  #receivedBytes = 0;
  #closing: Promise<void> | null = null;
  readonly #flushTurn = (): void => this.#flush();

  constructor(host: Host, negotiated: Negotiated, table: RequestTable, index: number, user: ConnectionUser) {
    this.index = index;
    this.negotiated = negotiated;
    this.#link = negotiated.link;
    this.#table = table;
    this.#user = user;
    this.#sender = new RequestSender(host.memory, negotiated, table);
    this.#parser = new ReplyParser(host, negotiated, table, index, this);
    this.#link.owner = this;
    this.#parser.window(this.#link);
  }

  get peer(): string {
    return this.#link.peer;
  }

  get hasRoom(): boolean {
    return this.open && this.inFlight < MAX_IN_FLIGHT;
  }

  /** Changes whenever bytes are received or sent. */
  get moved(): number {
    return this.#receivedBytes + this.#link.gatheredBytes - this.#link.unsentBytes;
  }

  /** Sends the request of a slot at the end of this turn. `hasRoom` must be true. The payload of a write must be in memory of the host. */
  send(slot: number): void {
    const table = this.#table;
    table.restart(slot);
    table.state[slot] = SlotState.sent;
    table.connection[slot] = this.index;
    this.inFlight++;
    this.#parser.expect(slot);
    if (!this.#sender.send(slot)) {
      this.inFlight--;
      this.#user.notHeld(slot);
      return;
    }
    if (this.#flushScheduled) return;
    this.#flushScheduled = true;
    queueMicrotask(this.#flushTurn);
  }

  /** Drops the connection: the user gets `lost` with `error`. */
  abandon(error: BlockError): void {
    this.#lose(error);
  }

  /** Disconnects. Requests under way, if any, are not answered. */
  async close(): Promise<void> {
    if (this.#closing === null) {
      if (this.open) this.#sender.disconnect();
      this.open = false;
      this.#closing = this.#link.close(true).then(() => this.#release());
    }
    await this.#closing;
  }

  // ---- the link -------------------------------------------------------------------------------------------------

  received(count: number): void {
    if (!this.open) return;
    this.#receivedBytes += count;
    this.#parser.received(count);
    this.#user.settled();
    if (this.open) this.#parser.window(this.#link);
  }

  progressed(): void {
    if (this.#early.length === 0) return;
    const early = this.#early;
    this.#early = [];
    for (const slot of early) this.replied(slot);
    this.#user.settled();
  }

  closed(error: BlockError | null): void {
    this.#lose(error ?? this.#error('the server closed the connection'));
  }

  // ---- the parser -----------------------------------------------------------------------------------------------

  /** Passes a reply to the user. Where the request is not completely sent yet, its memory is still in use, and the reply has to wait. */
  replied(slot: number): void {
    const table = this.#table;
    if (table.lastPiece[slot] > this.#link.sentPieces) {
      table.state[slot] = SlotState.answered;
      this.#early.push(slot);
      return;
    }
    this.inFlight--;
    this.#parser.forget(slot);
    this.#user.answered(this, slot, table.error[slot]);
  }

  broken(why: string): void {
    this.#lose(this.#error(why));
  }

  // ---- the end --------------------------------------------------------------------------------------------------

  #flush(): void {
    this.#flushScheduled = false;
    if (!this.open) return;
    if (this.#sender.flush() && this.#early.length > 0) this.progressed();
  }

  /** Drops the connection; the user is called when the link does not use memory any more. */
  #lose(error: BlockError): void {
    if (!this.open) return;
    this.open = false;
    this.#closing = this.#link.close().then(() => {
      this.#release();
      this.#user.lost(this, error);
    });
  }

  #release(): void {
    this.#sender.release();
    this.#parser.release();
  }

  #error(why: string): BlockError {
    return BlockError.at(this.peer, 'io', why, { errno: 'EIO' });
  }
}
