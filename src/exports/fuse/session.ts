// One mounted file: the kernel's requests become requests of a device.
//
//   channel --received--> windows.ts --> dispatch.ts --+- reads and writes --> transfers.ts --------> answers.ts --flush--> channel
//                                                      +- everything else ---> mounted-file.ts ----->
//
// What is under way takes a limited amount of memory: beyond it the kernel waits.
//
//   serving --close--> unmounted: no new users --all answered--> the channel is closed, `onEnd(null)`
//      \--the kernel has unmounted it, or the channel fails--> all answered --> `onEnd(error or null)`

import type { FuseChannel, FuseOwner } from '../../host/fuse.js';
import type { Host } from '../../host/host.js';
import type { BlockError } from '../../util/errors.js';
import { Waiters } from '../../util/waiters.js';
import { Answers } from './answers.js';
import { Dispatch } from './dispatch.js';
import type { MountedFile } from './mounted-file.js';
import { FuseRequests } from './requests.js';
import { Transfers } from './transfers.js';
import { Turn } from './turn.js';
import { Windows } from './windows.js';

/** Bytes of requests under way beyond which no more are read. */
const MOST_BYTES = 64 << 20;

export class FuseSession implements FuseOwner {
  readonly #channel: FuseChannel;
  readonly #onEnd: (error: BlockError | null) => void;
  readonly #windows: Windows;
  readonly #requests: FuseRequests;
  readonly #answers: Answers;
  readonly #transfers: Transfers;
  readonly #dispatch: Dispatch;
  readonly #turn = new Turn(() => this.#endTurn());
  readonly #idle = new Waiters();
  /** No requests are read any more. */
  #gone = false;
  #ending: Promise<void> | null = null;
  #finished: Promise<void> | null = null;

  /**
   * `onEnd` is called once, when nothing is under way and the channel is closed: with an error where the channel failed. Throws `limit`: the channel is still
   * the caller's then.
   */
  constructor(host: Host, channel: FuseChannel, file: MountedFile, onEnd: (error: BlockError | null) => void) {
    const { memory } = host;
    this.#channel = channel;
    this.#onEnd = onEnd;
    this.#windows = new Windows(channel, memory);
    this.#requests = new FuseRequests(memory, this.#windows);
    this.#answers = new Answers(channel, memory, this.#requests);
    this.#transfers = new Transfers(host, file, this.#requests, this.#answers, this.#turn);
    this.#dispatch = new Dispatch(file, this.#requests, this.#answers, this.#transfers, this.#turn);
    channel.owner = this;
    this.#windows.offer();
  }

  /** Requests that are not answered yet. */
  get pending(): number {
    return this.#requests.used;
  }

  /**
   * Takes the file out of sight, and ends the session when what is under way is answered. Rejects where it could not be unmounted: the session has ended even
   * so, and the file answers with ENOTCONN.
   */
  close(): Promise<void> {
    this.#ending ??= this.#unmountAndEnd();
    return this.#ending;
  }

  async #unmountAndEnd(): Promise<void> {
    try {
      // The kernel may have something to write before: it is answered.
      if (!this.#gone) await this.#channel.unmount();
    } finally {
      await this.#finish(null);
    }
  }

  received(count: number): void {
    const window = this.#windows.receive();
    this.#turn.beginBatch();
    for (let i = 0; i < count; i++) this.#dispatch.begin(window, window.offsets[i]);
    this.#transfers.submit();
    this.#windows.leave(window);
    this.#turn.endBatch();
  }

  closed(error: BlockError | null): void {
    void this.#finish(error);
  }

  /** Never rejects. */
  #finish(error: BlockError | null): Promise<void> {
    this.#finished ??= this.#settle(error);
    return this.#finished;
  }

  async #settle(error: BlockError | null): Promise<void> {
    this.#gone = true;
    this.#windows.withdraw();
    while (!this.#isIdle) await this.#idle.wait();
    this.#answers.close();
    this.#windows.close();
    this.#channel.close();
    this.#onEnd(error);
  }

  get #isIdle(): boolean {
    return this.#requests.used === 0 && this.#windows.held === 0;
  }

  /** Sends the answers that are ready, and lets the channel read more where there is room for it. */
  #endTurn(): void {
    this.#answers.flush();
    if (this.#gone) {
      if (this.#isIdle) this.#idle.wake();
    } else if (this.#requests.bytes < MOST_BYTES) this.#windows.offer();
  }
}
