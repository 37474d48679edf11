// Carries out the requests of one client, each by the shorter of two ways where that is possible.
//
//   begin(slot) --+- mapped -----> HostFile.beginRead/beginWrite ..submit.. completed(slot) --> reply     no promise, no object
//                 +- large read -> Link.pushFile: pages of the page cache ---------------------> reply     at once, without a copy
//                 +- zeroes ------------------------------------------------------------------> reply     at once
//                 +- otherwise --> Commands.run (async) --------------------------------------> reply
//
// A read or a write whose bytes lie as they are in a host file, by tables that are in memory, goes straight there (`Device.beginRead`): it
// is a slot from its header to its reply. A large read whose bytes are in the page cache is not even copied: the link holds the pages. It holds those of a
// few replies of a connection; more reads wait (`#waiting`) until some are sent, before they are located. Only where
// `Device.mayHold` says so: the pages are sent after the request has ended. Everything else (a miss, an allocation, a write that must be durable, any other command) takes
// the `async` way beside it. Requests of a batch are handed to the host together, by `submit`, and replies that come in one turn are sent together.

import type { Located } from '../../block/types.js';
import type { HostFile, RequestSink } from '../../host/host.js';
import { Command } from '../../wire/nbd/constants.js';
import type { Answers } from './answers.js';
import type { Commands } from './commands.js';
import type { NbdExport } from './export.js';
import { DATA_START, type RequestTable } from './requests.js';
import type { Shared } from './shared.js';
import { wireError } from './wire-error.js';

/** Reads from this length on are worth to be sent without a copy. */
const HELD_READ_BYTES = 64 * 1024;
/** Replies of one connection whose pages are held at a time: one is being sent, the others follow without a pause. */
const HELD_REPLIES = 3;

/** For the requests of all connections: each is begun at once. */
const located: Located = { file: null, offset: 0, guard: null };

export interface ExecutorUser {
  /** Answers of this turn are ready to be sent. */
  answered(): void;
  /** The slot is not used. */
  release(slot: number): void;
  /** The request in `slot` could not even be answered. */
  unanswerable(slot: number, error: unknown): void;
}

export class Executor implements RequestSink {
  /** Requests that were begun and are not answered yet. */
  pending = 0;
  readonly #shared: Shared;
  readonly #table: RequestTable;
  readonly #export: NbdExport;
  readonly #answers: Answers;
  readonly #commands: Commands;
  readonly #user: ExecutorUser;
  /** Slots of large reads that are not begun before a held reply is sent. */
  readonly #waiting: number[] = [];
  /** Slots of replies whose pages the link holds. */
  readonly #held = new Set<number>();
  /** Something was begun and is not submitted yet. */
  #begun = false;
  /** `answered` will be called at the end of this turn. */
  #scheduled = false;
  readonly #tellAnswered = (): void => {
    this.#scheduled = false;
    this.#user.answered();
  };

  constructor(shared: Shared, served: NbdExport, answers: Answers, commands: Commands, user: ExecutorUser) {
    this.#shared = shared;
    this.#table = shared.table;
    this.#export = served;
    this.#answers = answers;
    this.#commands = commands;
    this.#user = user;
  }

  /** Begins the request in `slot`, whose payload, if any, is in its buffer. */
  begin(slot: number): void {
    this.pending++;
    if (this.#held.size >= HELD_REPLIES && this.#isLargeRead(slot)) this.#waiting.push(slot);
    else this.#begin(slot);
  }

  /** The slot's reply was sent, or dropped: another one may be held. */
  sent(slot: number): void {
    this.#held.delete(slot);
  }

  /** Begins reads that waited, as many as can be held now. True where there were some. */
  resume(): boolean {
    const waited = this.#waiting.length;
    while (this.#waiting.length > 0 && this.#held.size < HELD_REPLIES) this.#begin(this.#waiting.shift() as number);
    return this.#waiting.length < waited;
  }

  /** The client is gone: reads that wait are not begun any more. */
  abandon(): void {
    for (const slot of this.#waiting.splice(0)) {
      this.pending--;
      this.#user.release(slot);
    }
  }

  #begin(slot: number): void {
    try {
      if (!this.#locate(slot)) void this.#run(slot);
      else if (located.file === null) this.#answerZeroes(slot);
      else if (this.#isLargeRead(slot) && this.#hold(slot, located.file)) return;
      else if (this.#beginMapped(slot, located.file)) this.#begun = true;
      else void this.#run(slot);
    } catch (error) {
      this.pending--;
      this.#user.unanswerable(slot, error);
    }
  }

  /** Submits what was begun since the last call. */
  submit(): void {
    if (!this.#begun) return;
    this.#begun = false;
    this.#shared.host.submit();
  }

  completed(slot: number, result: number): void {
    const table = this.#table;
    const write = table.command[slot] === Command.write;
    const offset = table.offset[slot];
    const length = table.length[slot];
    const guard = table.guard[slot];
    table.guard[slot] = null;
    const { device } = this.#export;
    if (result < 0 && device.asksAgain) {
      device.ended(write, offset, length, guard, true);
      void this.#run(slot);
      return;
    }
    this.pending--;
    try {
      device.ended(write, offset, length, guard, result < 0);
      if (result >= 0) {
        if (write) this.#answers.ok(slot);
        else this.#answers.read(slot);
      } else {
        const file = table.file[slot] as HostFile;
        const error = file.errorOf(write ? 'write' : 'read', offset, length, result);
        this.#answers.error(slot, wireError(error), error.message);
      }
    } catch (error) {
      this.#user.unanswerable(slot, error);
    }
  }

  settled(): void {
    this.#user.answered();
  }

  /** True where `located` says where the request goes. */
  #locate(slot: number): boolean {
    const table = this.#table;
    if (table.buffer[slot] === null) return false;
    const { device } = this.#export;
    const command = table.command[slot];
    if (command === Command.read) return device.beginRead(table.offset[slot], table.length[slot], located);
    if (command !== Command.write || this.#export.durable(table.flags[slot])) return false;
    return device.beginWrite(table.offset[slot], table.length[slot], located);
  }

  /** Begins a located request on its file; false where the file cannot take it without waiting. */
  #beginMapped(slot: number, file: HostFile): boolean {
    const table = this.#table;
    const buffer = table.buffer[slot] as Uint8Array;
    const { offset: at, guard } = located;
    const end = DATA_START + table.length[slot];
    const begun =
      table.command[slot] === Command.write
        ? file.beginWrite(at, buffer, DATA_START, end, this, slot)
        : file.beginRead(at, buffer, DATA_START, end, this, slot);
    if (begun) {
      table.file[slot] = file;
      table.guard[slot] = guard;
    } else this.#export.device.givenUp(table.command[slot] === Command.write, guard);
    return begun;
  }

  #isLargeRead(slot: number): boolean {
    return this.#table.length[slot] >= HELD_READ_BYTES && this.#table.command[slot] === Command.read;
  }

  /** Answers a located read with pages of the file; false where they cannot be held, and nothing has happened. */
  #hold(slot: number, file: HostFile): boolean {
    const table = this.#table;
    const { device } = this.#export;
    if (!device.mayHold(file, located.guard)) return false;
    try {
      if (!this.#answers.readHeld(slot, file, located.offset)) return false;
    } catch (error) {
      device.ended(false, table.offset[slot], table.length[slot], null, true);
      throw error;
    }
    this.#held.add(slot);
    // What is held cannot fail any more. The reply is sent with what else the batch brings, when that ends.
    device.ended(false, table.offset[slot], table.length[slot], null, false);
    this.pending--;
    return true;
  }

  /** A read that the tables answer. It is sent with what else the batch brings, when that ends. */
  #answerZeroes(slot: number): void {
    const { guard } = located;
    this.#export.device.ended(false, this.#table.offset[slot], this.#table.length[slot], guard, false);
    this.#answers.zeroes(slot);
    this.pending--;
  }

  /** Never rejects. */
  async #run(slot: number): Promise<void> {
    try {
      await this.#commands.run(slot);
    } catch (error) {
      this.#user.unanswerable(slot, error);
    }
    this.pending--;
    if (this.#scheduled) return;
    // Together with what else ends in this turn.
    this.#scheduled = true;
    queueMicrotask(this.#tellAnswered);
  }
}
