// What the kernel asks of one mounted file: each request is decoded and given to whoever carries it out.
//
//   read, write      --> Transfers
//   INIT             --> handshake.ts
//   what may wait    --> MountedFile (async)
//   the others       --> answered at once, or not at all

import { constants } from 'node:os';
import { putViewLe64, viewLe64 } from '../../util/bytes.js';
import {
  Attr,
  Body,
  IN_HEADER_BYTES,
  In,
  IO_HEADER_BYTES,
  LEAST_BYTES,
  LSEEK_OUT_BYTES,
  OPEN_OUT_BYTES,
  Opcode,
  ROOT_NODE,
  StatfsOut,
} from '../../wire/fuse/constants.js';
import type { Answers } from './answers.js';
import { answerInit } from './handshake.js';
import type { MountedFile } from './mounted-file.js';
import type { FuseRequests } from './requests.js';
import type { Transfers } from './transfers.js';
import type { Turn } from './turn.js';
import type { Window } from './windows.js';
import { numberOf } from './wire-error.js';

const { errno } = constants;
const BLOCK_BYTES = 512;
const NAME_BYTES = 255;
/** These name no node, or nodes that need not be there any more. */
const NOT_ABOUT_NODE: ReadonlySet<number> = new Set([
  Opcode.init,
  Opcode.forget,
  Opcode.batchForget,
  Opcode.interrupt,
  Opcode.destroy,
  Opcode.statfs,
]);

export class Dispatch {
  readonly #file: MountedFile;
  readonly #requests: FuseRequests;
  readonly #answers: Answers;
  readonly #transfers: Transfers;
  readonly #turn: Turn;

  constructor(file: MountedFile, requests: FuseRequests, answers: Answers, transfers: Transfers, turn: Turn) {
    this.#file = file;
    this.#requests = requests;
    this.#answers = answers;
    this.#transfers = transfers;
    this.#turn = turn;
  }

  /** Begins the request at `at`: it is answered now or later. */
  begin(window: Window, at: number): void {
    const slot = this.#requests.take(window.view, at);
    try {
      this.#begin(slot, window, at);
    } catch (error) {
      this.#answers.failed(slot, numberOf(error));
    }
  }

  #begin(slot: number, window: Window, at: number): void {
    const { view } = window;
    const length = view.getUint32(at + In.length, true);
    const opcode = view.getUint32(at + In.opcode, true);
    const answers = this.#answers;
    if (length < (LEAST_BYTES[opcode] ?? IN_HEADER_BYTES)) {
      answers.failed(slot, errno.EINVAL);
      return;
    }
    if (viewLe64(view, at + In.node) !== ROOT_NODE && !NOT_ABOUT_NODE.has(opcode)) {
      answers.failed(slot, errno.ENOENT);
      return;
    }
    switch (opcode) {
      case Opcode.read:
        this.#transfers.read(slot, viewLe64(view, at + Body.offset), view.getUint32(at + Body.size, true));
        return;
      case Opcode.write: {
        const size = view.getUint32(at + Body.size, true);
        if (size > length - IO_HEADER_BYTES) answers.failed(slot, errno.EINVAL);
        else this.#transfers.write(slot, viewLe64(view, at + Body.offset), size, window, at + IO_HEADER_BYTES);
        return;
      }
      case Opcode.init:
        answerInit(answers, slot, view, at);
        return;
      case Opcode.getattr:
        void this.#answerLater(slot, () => this.#attributes(slot));
        return;
      case Opcode.setattr:
        this.#setAttributes(slot, view, at);
        return;
      case Opcode.open:
        answers.done(slot, OPEN_OUT_BYTES);
        return;
      case Opcode.fallocate:
        this.#allocate(slot, view, at);
        return;
      case Opcode.lseek:
        this.#seek(slot, view, at);
        return;
      case Opcode.fsync:
      case Opcode.flush:
        void this.#answerLater(slot, async () => {
          await this.#file.flush();
          answers.done(slot);
        });
        return;
      case Opcode.statfs: {
        const body = answers.done(slot, StatfsOut.bytes);
        answers.view.setUint32(body + StatfsOut.blockBytes, BLOCK_BYTES, true);
        answers.view.setUint32(body + StatfsOut.nameBytes, NAME_BYTES, true);
        return;
      }
      case Opcode.release:
      case Opcode.destroy:
        answers.done(slot);
        return;
      // The request that is taken back is answered in its time. These are not answered at all.
      case Opcode.interrupt:
      case Opcode.forget:
      case Opcode.batchForget:
        this.#requests.release(slot);
        return;
      case Opcode.lookup:
        answers.failed(slot, errno.ENOENT);
        return;
      default:
        answers.failed(slot, errno.ENOSYS);
    }
  }

  #setAttributes(slot: number, view: DataView, at: number): void {
    const change = {
      valid: view.getUint32(at + Body.setValid, true),
      size: viewLe64(view, at + Body.setSize),
      mode: view.getUint32(at + Body.setMode, true),
      uid: view.getUint32(at + Body.setUid, true),
      gid: view.getUint32(at + Body.setGid, true),
    };
    void this.#answerLater(slot, async () => {
      await this.#file.change(change);
      await this.#attributes(slot);
    });
  }

  async #attributes(slot: number): Promise<void> {
    const allocated = await this.#file.allocatedBytes();
    const body = this.#answers.done(slot, Attr.bytes);
    this.#file.putAttributes(this.#answers.view, body, allocated);
  }

  #allocate(slot: number, view: DataView, at: number): void {
    const offset = viewLe64(view, at + Body.allocateOffset);
    const bytes = viewLe64(view, at + Body.allocateLength);
    const mode = view.getUint32(at + Body.allocateMode, true);
    void this.#answerLater(slot, async () => {
      await this.#file.allocate(offset, bytes, mode);
      this.#answers.done(slot);
    });
  }

  #seek(slot: number, view: DataView, at: number): void {
    const offset = viewLe64(view, at + Body.seekOffset);
    const whence = view.getUint32(at + Body.seekWhence, true);
    void this.#answerLater(slot, async () => {
      const found = await this.#file.seek(offset, whence);
      putViewLe64(this.#answers.view, this.#answers.done(slot, LSEEK_OUT_BYTES), found);
    });
  }

  /** `action` answers, unless it rejects: then the error is the answer. Never rejects. */
  async #answerLater(slot: number, action: () => Promise<void>): Promise<void> {
    try {
      await action();
    } catch (error) {
      this.#answers.failed(slot, numberOf(error));
    }
    this.#turn.endSoon();
  }
}
