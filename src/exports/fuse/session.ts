// One mounted file: the kernel's requests become requests of a device, each by the shorter of two ways where that is possible (as in exports/nbd/executor.ts).
//
//   channel --received--> parse --+- a read or a write, mapped --> HostFile.beginRead/beginWrite ..submit.. completed(slot) --> answer
//                                 +- other reads and writes -----> Device.read, write (async) -----------------------------------> answer
//                                 +- everything else ------------> MountedFile (async) ------------------------------------------> answer
//
// Requests come in windows, and writes are made from where they lie: a window is used again when its last write has ended. What is under way takes a limited
// amount of memory: beyond it the kernel waits.
//
//   serving --close--> unmounted: no new users --all answered--> the channel is closed, `onEnd(null)`
//      \--the kernel has unmounted it, or the channel fails--> all answered --> `onEnd(error or null)`

import { constants } from 'node:os';
import type { Located } from '../../block/types.js';
import { FUSE_MAX_IO_BYTES, FUSE_WINDOW_BYTES, type FuseChannel, type FuseOwner } from '../../host/fuse.js';
import type { Host, HostFile, RequestSink } from '../../host/host.js';
import { viewOf } from '../../util/bytes.js';
import { reportUnexpected } from '../../util/diagnostics.js';
import { type BlockError, toBlockError } from '../../util/errors.js';
import { Waiters } from '../../util/waiters.js';
import {
  ATTR_OUT_BYTES,
  Body,
  FUSE_MAJOR,
  FUSE_MINOR,
  IN_HEADER_BYTES,
  In,
  InitFlag,
  IO_HEADER_BYTES,
  LEAST_BYTES,
  LEAST_FUSE_MINOR,
  Opcode,
  ROOT_NODE,
} from '../../wire/fuse/constants.js';
import { Answers } from './answers.js';
import { type MountedFile, Refused } from './mounted-file.js';
import { DATA_START, FuseRequests, type Window } from './requests.js';
import { errnoOf } from './wire-error.js';

const { errno } = constants;
/** Bytes of requests under way beyond which no more are read. */
const MOST_BYTES = 64 << 20;
/** Windows with writes that have not ended beyond which no more requests are read. */
const MOST_WINDOWS = 32;
/** Asynchronous requests that the kernel sends before it waits for answers. */
const MAX_BACKGROUND = 64;
const PAGE_BYTES = 4096;
const NAME_BYTES = 255;
const INIT_FLAGS =
  InitFlag.asyncRead |
  InitFlag.atomicOTrunc |
  InitFlag.bigWrites |
  InitFlag.autoInvalData |
  InitFlag.asyncDio |
  InitFlag.maxPages;

/** For all requests: each is begun at once. */
const located: Located = { file: null, offset: 0, guard: null };

interface Unique {
  low: number;
  high: number;
}

export class FuseSession implements FuseOwner, RequestSink {
  readonly file: MountedFile;
  readonly channel: FuseChannel;
  readonly #host: Host;
  readonly #requests: FuseRequests;
  readonly #answers: Answers;
  readonly #onEnd: (error: BlockError | null) => void;
  /** The window that the channel has. */
  #window: Window | null = null;
  readonly #spare: Window[] = [];
  /** Windows with writes that have not ended. */
  #held = 0;
  #bytes = 0;
  /** Requests that were begun and are not answered yet. */
  #pending = 0;
  readonly #idle = new Waiters();
  /** Requests were begun and are not submitted yet. */
  #begun = false;
  /** Requests of a batch are being begun: what ends meanwhile is answered with the batch. */
  #batch = false;
  #scheduled = false;
  #gone = false;
  #ending: Promise<void> | null = null;
  #finished: Promise<void> | null = null;
  readonly #tellAnswered = (): void => {
    this.#scheduled = false;
    this.settled();
  };

  /** `onEnd` is called once, when nothing is under way and the channel is closed: with an error where the channel failed. */
  constructor(host: Host, channel: FuseChannel, file: MountedFile, onEnd: (error: BlockError | null) => void) {
    this.#host = host;
    this.channel = channel;
    this.file = file;
    this.#onEnd = onEnd;
    this.#requests = new FuseRequests(host.memory);
    this.#answers = new Answers(channel, host.memory, this.#requests, (window) => this.#leave(window));
    channel.owner = this;
    this.#offerWindow();
  }

  get pending(): number {
    return this.#pending;
  }

  /** Takes the file out of sight, and ends the session when what is under way is answered. Rejects where it cannot be unmounted: it goes on then. */
  close(): Promise<void> {
    if (this.#ending === null) {
      const ending = this.#unmountAndEnd();
      this.#ending = ending;
      ending.catch(() => {
        this.#ending = null;
      });
    }
    return this.#ending;
  }

  async #unmountAndEnd(): Promise<void> {
    // What programs have mapped is written now: it is answered.
    if (!this.#gone) await this.channel.unmount();
    this.#gone = true;
    await this.#finish(null);
  }

  // ---- the channel -------------------------------------------------------------------------------------------

  received(count: number): void {
    const window = this.#window as Window;
    this.#window = null;
    // It is kept until all of it has been looked at.
    window.uses = 1;
    this.#held++;
    this.#batch = true;
    for (let i = 0; i < count; i++) {
      const at = window.offsets[i];
      try {
        this.#begin(window, at);
      } catch (error) {
        this.#answerFailure(uniqueAt(window.view, at), error);
      }
    }
    if (this.#begun) {
      this.#begun = false;
      this.#host.submit();
    }
    this.#leave(window);
    this.#batch = false;
    this.settled();
  }

  closed(error: BlockError | null): void {
    this.#gone = true;
    void this.#finish(error);
  }

  /** Never rejects. */
  #finish(error: BlockError | null): Promise<void> {
    this.#finished ??= this.#settle(error);
    return this.#finished;
  }

  async #settle(error: BlockError | null): Promise<void> {
    this.channel.window(null);
    if (this.#window !== null) this.#spare.push(this.#window);
    this.#window = null;
    await this.#whenIdle();
    this.#answers.flush();
    this.#answers.close();
    this.channel.close();
    for (const { block } of this.#spare) this.#host.memory.free(block);
    this.#spare.length = 0;
    this.#onEnd(error);
  }

  async #whenIdle(): Promise<void> {
    while (this.#pending > 0 || this.#held > 0) await this.#idle.wait();
  }

  // ---- windows -----------------------------------------------------------------------------------------------

  /** Lets the channel read more, where there is room for it. */
  #offerWindow(): void {
    if (this.#gone || this.#window !== null || this.#bytes >= MOST_BYTES || this.#held >= MOST_WINDOWS) return;
    let window = this.#spare.pop();
    if (window === undefined) {
      const block = this.#host.memory.allocate(FUSE_WINDOW_BYTES);
      const offsets = new Int32Array(block.buffer, block.byteOffset, PAGE_BYTES / 4);
      window = { block, view: viewOf(block), offsets, uses: 0 };
    }
    this.#window = window;
    this.channel.window(window.block);
  }

  #leave(window: Window | null): void {
    if (window === null || --window.uses > 0) return;
    this.#held--;
    this.#spare.push(window);
  }

  // ---- requests ----------------------------------------------------------------------------------------------

  #begin(window: Window, at: number): void {
    const { view } = window;
    const length = view.getUint32(at + In.length, true);
    const opcode = view.getUint32(at + In.opcode, true);
    const unique = uniqueAt(view, at);
    if (length < (LEAST_BYTES[opcode] ?? IN_HEADER_BYTES)) {
      this.#refuse(unique, errno.EINVAL);
      return;
    }
    if (opcode !== Opcode.init && view.getUint32(at + In.node, true) !== ROOT_NODE && isAboutNode(opcode)) {
      this.#refuse(unique, errno.ENOENT);
      return;
    }
    switch (opcode) {
      case Opcode.read:
        this.#read(unique, number64(view, at + Body.offset), view.getUint32(at + Body.size, true));
        return;
      case Opcode.write:
        this.#write(window, at, unique, length);
        return;
      case Opcode.init:
        this.#init(view, at, unique);
        return;
      case Opcode.getattr:
        this.#answerLater(unique, () => this.#attributes(unique));
        return;
      case Opcode.setattr: {
        const change = {
          valid: view.getUint32(at + Body.setValid, true),
          size: number64(view, at + Body.setSize),
          mode: view.getUint32(at + Body.setMode, true),
          uid: view.getUint32(at + Body.setUid, true),
          gid: view.getUint32(at + Body.setGid, true),
        };
        this.#answerLater(unique, async () => {
          await this.file.change(change);
          await this.#attributes(unique);
        });
        return;
      }
      case Opcode.open:
        this.#answers.begin(unique, 0, 16);
        return;
      case Opcode.fallocate: {
        const offset = number64(view, at + Body.allocateOffset);
        const bytes = number64(view, at + Body.allocateLength);
        const mode = view.getUint32(at + Body.allocateMode, true);
        this.#answerLater(unique, async () => {
          await this.file.allocate(offset, bytes, mode);
          this.#answers.begin(unique, 0);
        });
        return;
      }
      case Opcode.lseek: {
        const offset = number64(view, at + Body.seekOffset);
        const whence = view.getUint32(at + Body.seekWhence, true);
        this.#answerLater(unique, async () => {
          const found = await this.file.seek(offset, whence);
          putNumber64(this.#answers.view, this.#answers.begin(unique, 0, 8), found);
        });
        return;
      }
      case Opcode.fsync:
      case Opcode.flush:
        this.#answerLater(unique, async () => {
          await this.file.flush();
          this.#answers.begin(unique, 0);
        });
        return;
      case Opcode.statfs: {
        const body = this.#answers.begin(unique, 0, 80);
        this.#answers.view.setUint32(body + 40, 512, true);
        this.#answers.view.setUint32(body + 44, NAME_BYTES, true);
        return;
      }
      case Opcode.release:
      case Opcode.destroy:
        this.#answers.begin(unique, 0);
        return;
      // The request that is taken back is answered in its time. These are not answered at all.
      case Opcode.interrupt:
      case Opcode.forget:
      case Opcode.batchForget:
        return;
      case Opcode.lookup:
        this.#refuse(unique, errno.ENOENT);
        return;
      default:
        this.#refuse(unique, errno.ENOSYS);
        return;
    }
  }

  #init(view: DataView, at: number, unique: Unique): void {
    const major = view.getUint32(at + Body.initMajor, true);
    const minor = view.getUint32(at + Body.initMinor, true);
    if (major < FUSE_MAJOR || (major === FUSE_MAJOR && minor < LEAST_FUSE_MINOR)) {
      this.#refuse(unique, errno.EPROTO);
      return;
    }
    const flags = view.getUint32(at + Body.initFlags, true) & INIT_FLAGS;
    const body = this.#answers.begin(unique, 0, 64);
    const answer = this.#answers.view;
    answer.setUint32(body, FUSE_MAJOR, true);
    answer.setUint32(body + 4, FUSE_MINOR, true);
    // A newer kernel asks once more, by our version.
    if (major > FUSE_MAJOR) return;
    answer.setUint32(body + 8, view.getUint32(at + Body.initReadahead, true), true);
    answer.setUint32(body + 12, flags >>> 0, true);
    answer.setUint16(body + 16, MAX_BACKGROUND, true);
    answer.setUint16(body + 18, (MAX_BACKGROUND * 3) / 4, true);
    answer.setUint32(body + 20, FUSE_MAX_IO_BYTES, true);
    answer.setUint32(body + 24, 1, true);
    answer.setUint16(body + 28, FUSE_MAX_IO_BYTES / PAGE_BYTES, true);
  }

  async #attributes(unique: Unique): Promise<void> {
    const allocated = await this.file.allocatedBytes();
    const body = this.#answers.begin(unique, 0, ATTR_OUT_BYTES);
    this.file.putAttributes(this.#answers.view, body, allocated);
  }

  // ---- reads and writes --------------------------------------------------------------------------------------

  #read(unique: Unique, offset: number, asked: number): void {
    const length = Math.min(asked, FUSE_MAX_IO_BYTES, this.file.size - offset);
    if (length <= 0) {
      this.#answers.begin(unique, 0);
      return;
    }
    const slot = this.#requests.take(unique, offset, length);
    try {
      this.#requests.allocate(slot, length);
    } catch (error) {
      this.#requests.release(slot);
      throw error;
    }
    this.#bytes += length;
    this.#pending++;
    if (!this.file.device.beginRead(offset, length, located)) this.#run(slot);
    else if (located.file === null) this.#zeroes(slot);
    else {
      const buffer = this.#requests.buffer[slot] as Uint8Array;
      const { file, guard } = located;
      this.#mapped(
        slot,
        file.beginRead(located.offset, buffer, DATA_START, DATA_START + length, this, slot),
        file,
        guard,
      );
    }
  }

  #write(window: Window, at: number, unique: Unique, bytes: number): void {
    const { view } = window;
    const offset = number64(view, at + Body.offset);
    const asked = view.getUint32(at + Body.size, true);
    if (asked > bytes - IO_HEADER_BYTES) {
      this.#refuse(unique, errno.EINVAL);
      return;
    }
    const length = this.file.roomFor(offset, asked);
    const slot = this.#requests.take(unique, offset, length ?? asked);
    this.#requests.buffer[slot] = window.block;
    this.#requests.start[slot] = at + IO_HEADER_BYTES;
    this.#requests.window[slot] = window;
    window.uses++;
    this.#bytes += this.#requests.length[slot];
    this.#pending++;
    const mayBegin = length !== null && !this.file.options.writethrough;
    if (!mayBegin || !this.file.device.beginWrite(offset, length, located) || located.file === null) this.#run(slot);
    else {
      const { file, guard } = located;
      const start = at + IO_HEADER_BYTES;
      this.#mapped(slot, file.beginWrite(located.offset, window.block, start, start + length, this, slot), file, guard);
    }
  }

  #mapped(slot: number, begun: boolean, file: HostFile, guard: Located['guard']): void {
    if (begun) {
      this.#requests.file[slot] = file;
      this.#requests.guard[slot] = guard;
      this.#begun = true;
    } else {
      this.file.device.givenUp(this.#isWrite(slot), guard);
      this.#run(slot);
    }
  }

  #isWrite(slot: number): boolean {
    return this.#requests.window[slot] !== null;
  }

  /** A read that the tables answer. */
  #zeroes(slot: number): void {
    const { offset, length, buffer } = this.#requests;
    const { guard } = located;
    (buffer[slot] as Uint8Array).fill(0, DATA_START, DATA_START + length[slot]);
    this.file.device.ended(false, offset[slot], length[slot], guard, false);
    this.#succeeded(slot);
  }

  completed(slot: number, result: number): void {
    const { offset, length, file, guard } = this.#requests;
    const { device } = this.file;
    const write = this.#isWrite(slot);
    const guarded = guard[slot];
    guard[slot] = null;
    const again = result < 0 && device.asksAgain;
    device.ended(write, offset[slot], length[slot], guarded, result < 0);
    if (again) this.#run(slot);
    else if (result >= 0) this.#succeeded(slot);
    else {
      const source = file[slot] as HostFile;
      this.#failed(slot, source.errorOf(write ? 'write' : 'read', offset[slot], length[slot], result));
    }
  }

  /** What ended in this turn is answered. */
  settled(): void {
    if (this.#batch) return;
    this.#answers.flush();
    if (this.#pending === 0 && this.#held === 0) this.#idle.wake();
    this.#offerWindow();
  }

  /** By the way that may wait. */
  #run(slot: number): void {
    this.#perform(slot).then(
      () => {
        this.#succeeded(slot);
        this.#tellSoon();
      },
      (error: unknown) => {
        this.#failed(slot, error);
        this.#tellSoon();
      },
    );
  }

  async #perform(slot: number): Promise<void> {
    const { offset, length, start, buffer } = this.#requests;
    const data = (buffer[slot] as Uint8Array).subarray(start[slot], start[slot] + length[slot]);
    const { device, options } = this.file;
    if (!this.#isWrite(slot)) return device.read(offset[slot], data);
    if (offset[slot] + length[slot] > this.file.size) await this.file.growTo(offset[slot] + length[slot]);
    await device.write(offset[slot], data, { fua: options.writethrough });
  }

  #succeeded(slot: number): void {
    this.#ended(slot);
    if (this.#isWrite(slot)) this.#answers.written(slot);
    else this.#answers.read(slot);
  }

  #failed(slot: number, error: unknown): void {
    this.#ended(slot);
    this.#answers.failed(slot, numberOf(error));
  }

  #ended(slot: number): void {
    this.#pending--;
    this.#bytes -= this.#requests.length[slot];
  }

  // ---- everything else ---------------------------------------------------------------------------------------

  #answerLater(unique: Unique, action: () => Promise<void>): void {
    this.#pending++;
    action()
      .catch((error: unknown) => this.#answerFailure(unique, error))
      .then(() => {
        this.#pending--;
        this.#tellSoon();
      })
      .catch((error: unknown) => reportUnexpected('fuse request', error));
  }

  #answerFailure(unique: Unique, error: unknown): void {
    this.#refuse(unique, numberOf(error));
  }

  #refuse(unique: Unique, error: number): void {
    this.#answers.begin(unique, error);
  }

  #tellSoon(): void {
    if (this.#scheduled) return;
    // Together with what else ends in this turn.
    this.#scheduled = true;
    queueMicrotask(this.#tellAnswered);
  }
}

function numberOf(error: unknown): number {
  return error instanceof Refused ? error.errno : errnoOf(toBlockError(error));
}

/** FORGET and its kind name nodes that need not be there any more, or none. */
function isAboutNode(opcode: number): boolean {
  return ![Opcode.forget, Opcode.batchForget, Opcode.interrupt, Opcode.destroy, Opcode.statfs].some(
    (one) => one === opcode,
  );
}

function uniqueAt(view: DataView, at: number): Unique {
  return { low: view.getUint32(at + In.unique, true), high: view.getUint32(at + In.unique + 4, true) };
}

function number64(view: DataView, at: number): number {
  return view.getUint32(at + 4, true) * 2 ** 32 + view.getUint32(at, true);
}

function putNumber64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value % 2 ** 32, true);
  view.setUint32(at + 4, Math.floor(value / 2 ** 32), true);
}
