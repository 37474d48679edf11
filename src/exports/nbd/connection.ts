// The transmission phase of one client: its parts, its share of the memory, and its end.
//
//   link --received--> Receiver --begin(slot)--> Executor --> Answers --> Outbox --pushed--> link
//                         |  ^
//              take bytes |  | resume, when there is room again
//                       Budget
//
//   end of the batch: host.submit once, outbox.flush once, and the link gets its next window
//
//   open --finish, or the client says goodbye--> finishing --all is answered--> ended --the link is closed, nothing is pending--> `onEnd`
//     \--drop, the link breaks, or the client breaks the protocol-------------->/
//
// When the link is gone, requests that are under way still use their slots: they run to their end, and are not answered.

import type { Link, LinkOwner } from '../../host/net.js';
import { detach, reportUnless } from '../../util/best-effort.js';
import { Command } from '../../wire/nbd/constants.js';
import { Answers } from './answers.js';
import type { BudgetUser } from './budget.js';
import { Commands } from './commands.js';
import { Executor, type ExecutorUser } from './executor.js';
import type { NbdExport } from './export.js';
import type { Agreement } from './handshake.js';
import type { Outbox } from './outbox.js';
import { Receiver, type ReceiverUser } from './receiver.js';
import { reasonOf } from './request-check.js';
import type { Shared } from './shared.js';

export class Connection implements LinkOwner, BudgetUser, ReceiverUser, ExecutorUser {
  readonly export: NbdExport;
  readonly peer: string;
  bytesTaken = 0;
  /** Requests that are over, and the bytes that its reads and writes were about. */
  requests = 0;
  readBytes = 0;
  writtenBytes = 0;
  readonly #shared: Shared;
  readonly #link: Link;
  readonly #outbox: Outbox;
  readonly #answers: Answers;
  readonly #receiver: Receiver;
  readonly #executor: Executor;
  readonly #onEnd: () => void;
  #bytesMoved = 0;
  /** No more requests are taken; it ends when those that are under way are answered. */
  #finishing = false;
  #ended = false;
  #linkGone = false;

  /** `onEnd` is called once, when nothing is under way and the link is closed. `start` begins to read. */
  constructor(shared: Shared, agreement: Agreement, onEnd: () => void) {
    const { link, outbox, dialect, contexts, export: served } = agreement;
    this.#shared = shared;
    this.#link = link;
    this.#outbox = outbox;
    this.#onEnd = onEnd;
    this.export = served;
    this.peer = link.peer;
    const release = (slot: number) => this.release(slot);
    outbox.slotSent = (slot) => {
      this.#executor.sent(slot);
      this.release(slot);
    };
    this.#answers = new Answers(shared.table, outbox, dialect, release);
    const commands = new Commands(shared.table, served, contexts, this.#answers);
    this.#executor = new Executor(shared, served, this.#answers, commands, this);
    const terms = {
      // It may change, by a client's own request.
      get size() {
        return served.size;
      },
      readOnly: served.readOnly,
      resizable: served.resizable,
      structured: dialect !== 'simple',
      extended: dialect === 'extended',
      contexts: contexts.size,
    };
    this.#receiver = new Receiver(shared, dialect, terms, this);
  }

  /** Requests that were begun and are not answered yet. */
  get pending(): number {
    return this.#executor.pending;
  }

  start(): void {
    this.#shared.budget.join(this);
    this.#link.owner = this;
    this.#guarded(() => this.#endTurn());
  }

  /** Takes no more requests; ends when those under way are answered. */
  finish(): void {
    if (this.#ended) return;
    this.#finishing = true;
    this.#guarded(() => this.#sendReplies());
  }

  /** Ends it now; what is under way is not answered. */
  drop(graceful = false): void {
    if (this.#ended) return;
    this.#mute();
    detach(
      'nbd connection',
      this.#link.close(graceful).finally(() => this.#gone()),
    );
  }

  // ---- the link ----------------------------------------------------------------------------------------------

  received(count: number): void {
    if (!this.open) return;
    try {
      this.#receiver.received(count);
      this.#endTurn();
    } catch (error) {
      this.#failed(error);
    }
  }

  progressed(): void {
    this.#outbox.progressed();
    if (!this.#ended) this.#guarded(() => this.#goOn());
    this.#resume();
  }

  closed(): void {
    if (this.#ended) return;
    this.#mute();
    this.#gone();
  }

  // ---- the receiver ------------------------------------------------------------------------------------------

  get open(): boolean {
    return !this.#finishing && !this.#ended;
  }

  get backlogged(): boolean {
    return this.#outbox.backlogged;
  }

  takeBytes(cost: number): boolean {
    if (!this.#shared.budget.take(this, cost)) return false;
    this.bytesTaken += cost;
    this.#shared.bytesTaken += cost;
    return true;
  }

  moved(bytes: number): void {
    this.#bytesMoved += bytes;
  }

  begin(slot: number): void {
    this.#executor.begin(slot);
  }

  refuse(slot: number, error: number): void {
    try {
      this.#answers.error(slot, error, reasonOf(error));
    } catch (failure) {
      this.unanswerable(slot, failure);
    }
  }

  release(slot: number): void {
    const { table, budget } = this.#shared;
    const cost = table.cost[slot];
    this.requests++;
    if (table.command[slot] === Command.read) this.readBytes += table.length[slot];
    else if (table.command[slot] === Command.write) this.writtenBytes += table.length[slot];
    table.release(slot);
    this.bytesTaken -= cost;
    this.#shared.bytesTaken -= cost;
    this.#bytesMoved += cost;
    budget.give(cost);
  }

  disconnected(): void {
    this.#finishing = true;
  }

  // ---- the executor ------------------------------------------------------------------------------------------

  answered(): void {
    this.#sendReplies();
    this.#goOn();
  }

  /** There was no memory for an answer. A part of it may wait to be sent already: then the outbox releases the slot. */
  unanswerable(slot: number, error: unknown): void {
    this.#failed(error);
    if (!this.#outbox.holds(slot)) this.release(slot);
  }

  // ---- the budget --------------------------------------------------------------------------------------------

  budgetFreed(): void {
    if (!this.#ended) this.#resume();
  }

  get bytesMoved(): number {
    return this.#bytesMoved + this.#link.gatheredBytes;
  }

  get waitsForClient(): boolean {
    return this.#receiver.filling || this.#link.unsentBytes > 0;
  }

  tooSlow(): void {
    this.drop();
  }

  // ---- sending, and the end ----------------------------------------------------------------------------------

  /** Submits the requests that were begun, sends the replies, and lets the link deliver more. */
  #endTurn(): void {
    this.#executor.submit();
    this.#sendReplies();
    this.#goOn();
    if (this.open && !this.#receiver.holding) this.#receiver.window(this.#link);
  }

  /** Begins reads that waited until others were sent, and sends what can be sent at once. */
  #goOn(): void {
    while (!this.#ended && this.#executor.resume()) {
      this.#executor.submit();
      this.#sendReplies();
    }
  }

  #resume(): void {
    if (!this.#receiver.holding) return;
    this.#guarded(() => {
      this.#receiver.resume();
      this.#endTurn();
    });
  }

  #sendReplies(): void {
    if (this.#ended) this.#checkEnd();
    else {
      this.#outbox.flush();
      if (this.#finishing && this.#executor.pending === 0) this.drop(true);
    }
  }

  #guarded(action: () => void): void {
    try {
      action();
    } catch (error) {
      this.#failed(error);
    }
  }

  /** Drops this client. The host may have no memory left for it; every other failure is a mistake of Diskwright's. */
  #failed(error: unknown): void {
    reportUnless('nbd connection', error, 'limit');
    this.drop();
  }

  #mute(): void {
    this.#ended = true;
    this.#answers.muted = true;
    this.#receiver.stop();
    this.#shared.budget.leave(this);
  }

  /** The link uses no memory any more. */
  #gone(): void {
    this.#outbox.abandon();
    this.#receiver.abandon();
    this.#executor.abandon();
    this.#linkGone = true;
    this.#checkEnd();
  }

  #checkEnd(): void {
    if (!this.#linkGone || this.#executor.pending > 0) return;
    this.#linkGone = false;
    this.#onEnd();
  }
}
