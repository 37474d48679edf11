// The memory that one mounted file's requests are received into: blocks of `FUSE_WINDOW_BYTES`, one at a time in the channel's hands.
//
//   spare --offer--> with the channel --receive--> held: its requests are being begun, or written from where they lie --leave, by the last--> spare

import { FUSE_WINDOW_BYTES, type FuseChannel } from '../../host/fuse.js';
import type { Memory } from '../../host/host.js';
import { viewOf } from '../../util/bytes.js';
import { BlockError } from '../../util/errors.js';

/** Windows that are held beyond which no more requests are read. */
const MOST_HELD = 32;
/** Windows that are kept for what comes next. */
const MOST_SPARE = 4;
/** At the beginning of a window: where its requests are. */
const OFFSETS_BYTES = 4096;

export interface Window {
  readonly block: Uint8Array;
  readonly view: DataView;
  readonly offsets: Int32Array;
  /** Writes that lie in it and have not ended, and one while its requests are being begun. */
  uses: number;
}

export class Windows {
  readonly #channel: FuseChannel;
  readonly #memory: Memory;
  #offered: Window | null = null;
  readonly #spare: Window[] = [];
  #held = 0;

  /** Throws `limit`. */
  constructor(channel: FuseChannel, memory: Memory) {
    this.#channel = channel;
    this.#memory = memory;
    this.#spare.push(this.#make());
  }

  /** Windows whose requests have not all ended. */
  get held(): number {
    return this.#held;
  }

  /** Lets the channel read requests, unless it does already, or too much is held. */
  offer(): void {
    if (this.#offered !== null || this.#held >= MOST_HELD) return;
    const window = this.#spare.pop() ?? this.#another();
    if (window === null) return;
    this.#offered = window;
    this.#channel.window(window.block);
  }

  /** The one that the channel has read into: it is used until `leave`. */
  receive(): Window {
    const window = this.#offered as Window;
    this.#offered = null;
    window.uses = 1;
    this.#held++;
    return window;
  }

  /** A request in it has ended, or all have been begun. */
  leave(window: Window): void {
    if (--window.uses > 0) return;
    this.#held--;
    this.#keep(window);
  }

  /** Nothing is read any more. */
  withdraw(): void {
    if (this.#offered === null) return;
    this.#channel.window(null);
    this.#keep(this.#offered);
    this.#offered = null;
  }

  /** To be called when none is held, and nothing is read. */
  close(): void {
    for (const { block } of this.#spare) this.#memory.free(block);
    this.#spare.length = 0;
  }

  #keep(window: Window): void {
    if (this.#spare.length < MOST_SPARE) this.#spare.push(window);
    else this.#memory.free(window.block);
  }

  /** Null where there is no memory: some are held then, and when one of them is spare, it is offered. */
  #another(): Window | null {
    try {
      return this.#make();
    } catch (error) {
      if (error instanceof BlockError && error.code === 'limit') return null;
      throw error;
    }
  }

  #make(): Window {
    const block = this.#memory.allocate(FUSE_WINDOW_BYTES);
    const offsets = new Int32Array(block.buffer, block.byteOffset, OFFSETS_BYTES / 4);
    return { block, view: viewOf(block), offsets, uses: 0 };
  }
}
