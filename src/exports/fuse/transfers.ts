// Reads and writes of one mounted file, each by the shorter of two ways where that is possible (as in exports/nbd/executor.ts).
//
//   read, write --+- mapped -----> HostFile.beginRead/beginWrite ..submit.. completed(slot) --> answer     no promise, no object
//                 +- zeroes -----------------------------------------------------------------> answer     at once
//                 +- otherwise --> Device.read, write (async) -------------------------------> answer
//
// A write is made from where it was received. Requests of a batch are handed to the host together, by `submit`.

import type { Located } from '../../block/types.js';
import { FUSE_MAX_IO_BYTES } from '../../host/fuse.js';
import type { Host, HostFile, RequestSink } from '../../host/host.js';
import type { Answers } from './answers.js';
import type { MountedFile } from './mounted-file.js';
import { DATA_START, type FuseRequests } from './requests.js';
import type { Turn } from './turn.js';
import type { Window } from './windows.js';
import { numberOf } from './wire-error.js';

/** For all requests: each is begun at once. */
const located: Located = { file: null, offset: 0, guard: null };

export class Transfers implements RequestSink {
  readonly #host: Host;
  readonly #file: MountedFile;
  readonly #requests: FuseRequests;
  readonly #answers: Answers;
  readonly #turn: Turn;
  /** Something was begun and is not submitted yet. */
  #begun = false;

  constructor(host: Host, file: MountedFile, requests: FuseRequests, answers: Answers, turn: Turn) {
    this.#host = host;
    this.#file = file;
    this.#requests = requests;
    this.#answers = answers;
    this.#turn = turn;
  }

  /** Throws `limit`. */
  read(slot: number, offset: number, asked: number): void {
    const length = Math.min(asked, FUSE_MAX_IO_BYTES, this.#file.size - offset);
    if (length <= 0) {
      this.#answers.done(slot);
      return;
    }
    const requests = this.#requests;
    requests.beRead(slot, offset, length);
    if (!this.#file.device.beginRead(offset, length, located)) void this.#run(slot);
    else if (located.file === null) this.#answerZeroes(slot);
    else {
      const buffer = requests.buffer[slot] as Uint8Array;
      const begun = located.file.beginRead(located.offset, buffer, DATA_START, DATA_START + length, this, slot);
      this.#beginMapped(slot, begun);
    }
  }

  /** `asked` bytes lie at `start` of the window. Throws `Refused`. */
  write(slot: number, offset: number, asked: number, window: Window, start: number): void {
    const room = this.#file.roomFor(offset, asked);
    const length = room ?? asked;
    this.#requests.beWrite(slot, offset, length, window, start);
    const mayBegin = room !== null && !this.#file.options.writethrough;
    if (!mayBegin || !this.#file.device.beginWrite(offset, length, located) || located.file === null) {
      void this.#run(slot);
    } else {
      const begun = located.file.beginWrite(located.offset, window.block, start, start + length, this, slot);
      this.#beginMapped(slot, begun);
    }
  }

  /** Submits what was begun since the last call. */
  submit(): void {
    if (!this.#begun) return;
    this.#begun = false;
    this.#host.submit();
  }

  #isWrite(slot: number): boolean {
    return this.#requests.window[slot] !== null;
  }

  /** `begun`: the file has taken it; else it would have to wait. */
  #beginMapped(slot: number, begun: boolean): void {
    if (begun) {
      this.#requests.file[slot] = located.file;
      this.#requests.guard[slot] = located.guard;
      this.#begun = true;
    } else {
      this.#file.device.givenUp(this.#isWrite(slot), located.guard);
      void this.#run(slot);
    }
  }

  /** A read that the tables answer. */
  #answerZeroes(slot: number): void {
    const { offset, length, buffer } = this.#requests;
    const { guard } = located;
    (buffer[slot] as Uint8Array).fill(0, DATA_START, DATA_START + length[slot]);
    this.#file.device.ended(false, offset[slot], length[slot], guard, false);
    this.#answers.read(slot);
  }

  completed(slot: number, result: number): void {
    const { offset, length, file, guard } = this.#requests;
    const { device } = this.#file;
    const write = this.#isWrite(slot);
    const guarded = guard[slot];
    guard[slot] = null;
    const again = result < 0 && device.asksAgain;
    device.ended(write, offset[slot], length[slot], guarded, result < 0);
    if (again) void this.#run(slot);
    else if (result >= 0) this.#succeeded(slot);
    else {
      const source = file[slot] as HostFile;
      const error = source.errorOf(write ? 'write' : 'read', offset[slot], length[slot], result);
      this.#answers.failed(slot, numberOf(error));
    }
  }

  settled(): void {
    this.#turn.end();
  }

  #succeeded(slot: number): void {
    if (this.#isWrite(slot)) this.#answers.written(slot);
    else this.#answers.read(slot);
  }

  /** By the way that may wait. Never rejects. */
  async #run(slot: number): Promise<void> {
    let error = 0;
    try {
      await this.#perform(slot);
    } catch (cause) {
      error = numberOf(cause);
    }
    if (error === 0) this.#succeeded(slot);
    else this.#answers.failed(slot, error);
    this.#turn.endSoon();
  }

  async #perform(slot: number): Promise<void> {
    const { start, buffer } = this.#requests;
    const offset = this.#requests.offset[slot];
    const end = offset + this.#requests.length[slot];
    const data = (buffer[slot] as Uint8Array).subarray(start[slot], start[slot] + end - offset);
    const { device, options } = this.#file;
    if (!this.#isWrite(slot)) return device.read(offset, data);
    if (end > this.#file.size) await this.#file.growTo(end);
    await device.write(offset, data, { fua: options.writethrough });
  }
}
