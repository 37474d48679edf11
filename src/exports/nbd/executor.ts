// Carries out the requests of one client, each by the shorter of two ways where that is possible.
//
//   begin(slot) --+- mapped -----> HostFile.beginRead/beginWrite ..submit.. completed(slot) --> reply     no promise, no object
//                 +- zeroes ------------------------------------------------------------------> reply     at once
//                 +- otherwise --> Commands.run (async) --------------------------------------> reply
//
// A read or a write whose bytes lie as they are in a host file, by tables that are in memory, goes straight there (`Device.beginRead`): it
// is a slot from its header to its reply. Everything else (a miss, an allocation, a write that must be durable, any other command) takes
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

/** For the requests of all connections: each is begun at once. */
const located: Located = { file: null, offset: 0, guard: null };

export interface ExecutorUser {
  /** Answers of this turn are ready to be sent. */
  answered(): void;
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
    try {
      if (!this.#locate(slot)) void this.#run(slot);
      else if (located.file === null) this.#answerZeroes(slot);
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
