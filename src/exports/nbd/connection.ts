// The transmission phase of one client.
//
//   link --received--> parse: header, header, payload ...          (of the block that all connections share)
//                        |
//                        +- mapped -----> HostFile.beginRead/beginWrite --> completed --> reply     no promise, no object
//                        +- otherwise --> Commands.run (async) --------------------------> reply
//                        +- no budget --> hold the rest, read no further until something is given back
//   end of the batch: host.submit once, outbox.flush once, and the link gets its next window
//
// A payload that came with its header is copied to the slot's buffer; what is missing of it is received there directly.

import type { Located } from '../../block/types.js';
import type { HostFile, RequestSink } from '../../host/host.js';
import type { Link, LinkOwner } from '../../host/net.js';
import { detach, reportUnless } from '../../util/best-effort.js';
import { HIGH_WORD, viewBe64, viewOf } from '../../util/bytes.js';
import { BlockError } from '../../util/errors.js';
import { Command, CommandFlag, NbdError } from '../../wire/nbd/constants.js';
import { DIALECTS, hasPayload, RequestField, requestLength } from '../../wire/nbd/headers.js';
import { Answers } from './answers.js';
import type { BudgetUser } from './budget.js';
import { blockStatusBytes, CACHE_PIECE_BYTES, Commands } from './commands.js';
import type { NbdExport } from './export.js';
import type { Agreement } from './handshake.js';
import type { Outbox } from './outbox.js';
import { checkRequest, NO_ERROR, reasonOf, type Terms } from './request-check.js';
import { DATA_START, type RequestTable } from './requests.js';
import { RECEIVE_GAP, type Shared } from './shared.js';
import { wireError } from './wire-error.js';

/** After a payload of this size only a header is asked for next: another such payload then comes straight into its slot. */
const LARGE_PAYLOAD_BYTES = 64 * 1024;
const NONE = -1;

/** For the requests of all connections: each is begun at once. */
const located: Located = { file: null, offset: 0, guard: null };

export class Connection implements LinkOwner, RequestSink, BudgetUser {
  readonly export: NbdExport;
  readonly peer: string;
  bytesTaken = 0;
  bytesMoved = 0;
  readonly #shared: Shared;
  readonly #table: RequestTable;
  readonly #link: Link;
  readonly #outbox: Outbox;
  readonly #answers: Answers;
  readonly #commands: Commands;
  readonly #terms: Terms;
  readonly #requestBytes: number;
  readonly #requestMagic: number;
  readonly #onEnd: () => void;
  readonly #flushLater = () => this.#sendReplies();

  /** Requests that are not answered yet. */
  #pending = 0;
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
  /** What was received and must wait, since there is no room for more requests. */
  #held: Uint8Array | null = null;
  /** Something was begun and is not handed over yet. */
  #begun = false;
  #flushing = false;
  /** No more requests are taken; it ends when those that are under way are answered. */
  #finishing = false;
  #ended = false;
  #linkGone = false;

  /** `onEnd` is called once, when nothing of it is left. `start` begins to read. */
  constructor(shared: Shared, agreement: Agreement, onEnd: () => void) {
    const { link, outbox, dialect, contexts } = agreement;
    this.#shared = shared;
    this.#table = shared.table;
    this.#link = link;
    this.#outbox = outbox;
    this.#onEnd = onEnd;
    this.export = agreement.export;
    this.peer = link.peer;
    const { requestBytes, requestMagic } = DIALECTS[dialect];
    this.#requestBytes = requestBytes;
    this.#requestMagic = requestMagic;
    this.#terms = {
      size: this.export.size,
      readOnly: this.export.readOnly,
      resizable: this.export.resizable,
      structured: dialect !== 'simple',
      extended: dialect === 'extended',
      contexts: contexts.size,
    };
    const release = (slot: number) => this.#release(slot);
    outbox.slotSent = release;
    this.#answers = new Answers(shared.table, outbox, dialect, release);
    this.#commands = new Commands(shared.table, this.export, contexts, this.#answers);
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
    if (this.#ended || this.#finishing) return;
    try {
      if (this.#filling !== NONE) this.#receivedPayload(count);
      else {
        const { block, view } = this.#shared;
        const start = RECEIVE_GAP - this.#partialBytes;
        for (let i = 0; i < this.#partialBytes; i++) block[start + i] = (this.#partial as Uint8Array)[i];
        this.#partialBytes = 0;
        this.#parse(block, view, start, RECEIVE_GAP + count);
      }
      this.#endTurn();
    } catch (error) {
      this.#failed(error);
    }
  }

  progressed(): void {
    this.#outbox.progressed();
    if (this.#held !== null) this.#guarded(() => this.#resume());
  }

  closed(): void {
    if (this.#ended) return;
    this.#mute();
    this.#gone();
  }

  // ---- requests that went straight to a file -----------------------------------------------------------------

  completed(slot: number, result: number): void {
    const table = this.#table;
    const write = table.command[slot] === Command.write;
    const offset = table.offset[slot];
    const length = table.length[slot];
    const guard = table.guard[slot];
    table.guard[slot] = null;
    this.#pending--;
    try {
      this.export.device.ended(write, offset, length, guard, result < 0);
      if (result >= 0) {
        if (write) this.#answers.ok(slot);
        else this.#answers.read(slot);
      } else {
        const file = table.file[slot] as HostFile;
        const error = file.errorOf(write ? 'write' : 'read', offset, length, result);
        this.#answers.error(slot, wireError(error), error.message);
      }
    } catch (error) {
      this.#giveUp(slot, error);
    }
  }

  settled(): void {
    this.#sendReplies();
  }

  // ---- memory ------------------------------------------------------------------------------------------------

  budgetFreed(): void {
    if (this.#held !== null && !this.#ended) this.#guarded(() => this.#resume());
  }

  get waitsForClient(): boolean {
    return this.#filling !== NONE || this.#link.unsentBytes > 0;
  }

  tooSlow(): void {
    this.drop();
  }

  #release(slot: number): void {
    const cost = this.#table.cost[slot];
    this.#table.release(slot);
    this.bytesTaken -= cost;
    this.#shared.bytesTaken -= cost;
    this.bytesMoved += cost;
    this.#shared.budget.give(cost);
  }

  #answerError(slot: number, error: number): void {
    try {
      this.#answers.error(slot, error, reasonOf(error));
    } catch (failure) {
      this.#giveUp(slot, failure);
    }
  }

  /** There was no memory for an answer. A part of it may wait to be sent already: then the outbox gives the slot back. */
  #giveUp(slot: number, error: unknown): void {
    this.#failed(error);
    if (!this.#outbox.holds(slot)) this.#release(slot);
  }

  // ---- parsing -----------------------------------------------------------------------------------------------

  #parse(bytes: Uint8Array, view: DataView, start: number, end: number): void {
    for (let at = start; at < end && !this.#finishing && !this.#ended; ) {
      if (this.#skip > 0) {
        at += this.#skipPayload(end - at);
        continue;
      }
      if (end - at < this.#requestBytes) {
        this.#keepPartial(bytes, at, end);
        return;
      }
      if (view.getUint32(at) !== this.#requestMagic) {
        this.drop();
        return;
      }
      const used = this.#outbox.backlogged ? 0 : this.#take(bytes, view, at, end);
      if (used === 0) {
        this.#held = bytes === this.#shared.block ? bytes.slice(at, end) : bytes.subarray(at, end);
        return;
      }
      at += used;
    }
  }

  /** Takes the request at `at`, and as much of its payload as is there. Returns the bytes used; 0 where it must wait. */
  #take(bytes: Uint8Array, view: DataView, at: number, end: number): number {
    const { extended } = this.#terms;
    const flags = view.getUint16(at + RequestField.flags);
    const command = view.getUint16(at + RequestField.command);
    const offset = viewBe64(view, at + RequestField.offset);
    const length = requestLength(view, at, extended);
    if (command === Command.disconnect) {
      this.#finishing = true;
      return this.#requestBytes;
    }
    const payload = hasPayload(command, flags, extended) ? length : 0;
    // The size may have changed, by a client's own request.
    this.#terms.size = this.export.size;
    const error = checkRequest(command, flags, offset, length, this.#terms);
    const data =
      command === Command.read ? length : command === Command.cache ? Math.min(length, CACHE_PIECE_BYTES) : payload;
    const reply = command === Command.blockStatus ? blockStatusBytes(this.#terms.contexts, flags) : 0;
    const cost = error === NO_ERROR ? this.#table.costOf(Math.max(data, reply)) : 0;
    if (!this.#shared.budget.take(this, cost)) return 0;
    this.bytesTaken += cost;
    this.#shared.bytesTaken += cost;
    const table = this.#table;
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
      this.#begin(slot);
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
      this.#answerError(slot, error);
      return;
    }
    // No client means this many bytes.
    if (payload >= HIGH_WORD) {
      this.#release(slot);
      this.drop();
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
      this.#answerError(slot, this.#skipError);
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
      this.#begin(slot);
    } else {
      this.#filling = slot;
      this.#filled = part;
    }
    return part;
  }

  #receivedPayload(count: number): void {
    const slot = this.#filling;
    this.#filled += count;
    this.bytesMoved += count;
    const payload = this.#table.length[slot];
    if (this.#filled < payload) return;
    this.#filling = NONE;
    this.#headerOnly = payload >= LARGE_PAYLOAD_BYTES;
    this.#begin(slot);
  }

  #keepPartial(bytes: Uint8Array, at: number, end: number): void {
    this.#partial ??= new Uint8Array(this.#requestBytes);
    for (let i = at; i < end; i++) this.#partial[i - at] = bytes[i];
    this.#partialBytes = end - at;
  }

  // ---- carrying out ------------------------------------------------------------------------------------------

  #begin(slot: number): void {
    this.#pending++;
    let begun = false;
    try {
      begun = this.#beginMapped(slot);
    } catch (error) {
      this.#pending--;
      this.#giveUp(slot, error);
      return;
    }
    if (begun) this.#begun = true;
    else void this.#runSlowly(slot);
  }

  /** True where the request goes straight to a file. */
  #beginMapped(slot: number): boolean {
    const table = this.#table;
    const buffer = table.buffer[slot];
    const write = table.command[slot] === Command.write;
    if (buffer !== null && (write ? !this.#durable(slot) : table.command[slot] === Command.read)) {
      const { device } = this.export;
      const offset = table.offset[slot];
      const length = table.length[slot];
      if (write ? device.beginWrite(offset, length, located) : device.beginRead(offset, length, located)) {
        const file = located.file as HostFile;
        const { offset: at, guard } = located;
        const end = DATA_START + length;
        const begun = write
          ? file.beginWrite(at, buffer, DATA_START, end, this, slot)
          : file.beginRead(at, buffer, DATA_START, end, this, slot);
        if (begun) {
          table.file[slot] = file;
          table.guard[slot] = guard;
          return true;
        }
        device.givenUp(guard);
      }
    }
    return false;
  }

  /** The write must be on the disk when it is answered. */
  #durable(slot: number): boolean {
    return (this.#table.flags[slot] & CommandFlag.fua) !== 0 || this.export.writethrough;
  }

  /** Never rejects. */
  async #runSlowly(slot: number): Promise<void> {
    try {
      await this.#commands.run(slot);
    } catch (error) {
      this.#giveUp(slot, error);
    }
    this.#pending--;
    if (this.#flushing) return;
    // Together with what else ends in this turn.
    this.#flushing = true;
    queueMicrotask(this.#flushLater);
  }

  // ---- sending, and the end ----------------------------------------------------------------------------------

  /** What was begun is handed over, what is answered is sent, and the link may deliver more. */
  #endTurn(): void {
    if (this.#begun) {
      this.#begun = false;
      this.#shared.host.submit();
    }
    this.#sendReplies();
    if (this.#ended || this.#finishing || this.#held !== null) return;
    if (this.#filling !== NONE) {
      const payload = this.#table.length[this.#filling];
      const buffer = this.#table.buffer[this.#filling] as Uint8Array;
      this.#link.window(buffer, DATA_START + this.#filled, DATA_START + payload);
    } else {
      const { block } = this.#shared;
      const end = this.#headerOnly ? RECEIVE_GAP + this.#requestBytes - this.#partialBytes : block.length;
      this.#link.window(block, RECEIVE_GAP, end);
    }
  }

  #resume(): void {
    const held = this.#held as Uint8Array;
    this.#held = null;
    this.#parse(held, viewOf(held), 0, held.length);
    this.#endTurn();
  }

  #sendReplies(): void {
    this.#flushing = false;
    if (this.#ended) this.#checkEnd();
    else {
      this.#outbox.flush();
      if (this.#finishing && this.#pending === 0) this.drop(true);
    }
  }

  #guarded(action: () => void): void {
    try {
      action();
    } catch (error) {
      this.#failed(error);
    }
  }

  /** This client goes. The host may have no memory left for it; everything else is a mistake of ours. */
  #failed(error: unknown): void {
    reportUnless('nbd connection', error, 'limit');
    this.drop();
  }

  #mute(): void {
    this.#ended = true;
    this.#answers.muted = true;
    this.#held = null;
    this.#shared.budget.leave(this);
  }

  /** The link uses no memory any more. */
  #gone(): void {
    this.#outbox.abandon();
    for (const slot of [this.#filling, this.#skipSlot]) if (slot !== NONE) this.#release(slot);
    this.#filling = NONE;
    this.#skipSlot = NONE;
    this.#linkGone = true;
    this.#checkEnd();
  }

  #checkEnd(): void {
    if (!this.#linkGone || this.#pending > 0) return;
    this.#linkGone = false;
    this.#onEnd();
  }
}
