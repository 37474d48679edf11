// Text over a link of the host, in both directions: what a monitor's client, and a client of another monitor, do alike.
//
//   link --window--> owner.received          write -> queue --block by block--> link
//
// Both blocks are allocated at the start: however full the host's memory is later, messages still go out.

import type { Clock, Host, Memory } from '../host/host.js';
import type { Link, LinkOwner } from '../host/net.js';
import type { BlockError } from '../util/errors.js';

const BLOCK_BYTES = 64 * 1024;

export interface LinkStreamOwner {
  /** The bytes are the stream's again after the call. */
  received(bytes: Uint8Array): void;
  /** A descriptor was passed with the bytes that come next; it is the owner's. Without this, descriptors are closed. */
  descriptor?(fd: number): void;
  /** Called once, however the link has ended: null where one of the two sides has closed it. */
  closed(error: BlockError | null): void;
}

export class LinkStream implements LinkOwner {
  readonly #memory: Memory;
  readonly #clock: Clock;
  readonly #link: Link;
  readonly #owner: LinkStreamOwner;
  readonly #window: Uint8Array;
  readonly #block: Uint8Array;
  /** What does not fit the block yet, the oldest first. */
  readonly #queue: Buffer[] = [];
  #queuedBytes = 0;
  /** Blocks that were given to the link. */
  #pushed = 0;
  #receiving = false;
  #stopTimer = (): void => undefined;
  #gone = false;

  /** Nothing is received before `receive(true)`. Throws `limit` where the host has no memory for it. */
  constructor({ memory, clock }: Pick<Host, 'memory' | 'clock'>, link: Link, owner: LinkStreamOwner) {
    this.#memory = memory;
    this.#clock = clock;
    this.#link = link;
    this.#owner = owner;
    this.#window = memory.allocate(BLOCK_BYTES);
    try {
      this.#block = memory.allocate(BLOCK_BYTES);
    } catch (error) {
      memory.free(this.#window);
      throw error;
    }
    link.owner = this;
    if (owner.descriptor !== undefined) link.takeDescriptors();
  }

  // ---- the link's owner ----------------------------------------------------------------------------------------

  received(count: number): void {
    this.#owner.received(this.#window.subarray(0, count));
    // Whoever sends without end is read on in the next turn: others have theirs in between.
    if (count < BLOCK_BYTES) this.#listen();
    else if (!this.#gone) this.#stopTimer = this.#clock.timer(0, () => this.#listen());
  }

  descriptor(fd: number): void {
    this.#owner.descriptor?.(fd);
  }

  progressed(): void {
    this.#send();
  }

  closed(error: BlockError | null): void {
    this.#end(error);
  }

  // ---- for the stream's owner ----------------------------------------------------------------------------------

  /** Bytes that were written and not taken yet. */
  get backlogBytes(): number {
    return this.#queuedBytes + this.#link.unsentBytes;
  }

  /** `text` is ASCII. */
  write(text: string): void {
    if (this.#gone) return;
    const bytes = Buffer.from(text, 'latin1');
    this.#queue.push(bytes);
    this.#queuedBytes += bytes.length;
    this.#send();
  }

  /** Whether bytes are to be received. */
  receive(on: boolean): void {
    this.#receiving = on;
    this.#listen();
  }

  /** Ends the connection; `graceful` sends first what was written, within a few seconds. Resolves when the socket is closed. */
  async close(graceful: boolean): Promise<void> {
    if (this.#gone) return;
    await this.#link.close(graceful);
    this.#end(null);
  }

  #listen(): void {
    if (!this.#gone) this.#link.window(this.#window, 0, this.#receiving ? BLOCK_BYTES : 0);
  }

  /** Fills the block and sends it, as often as the link takes it at once. */
  #send(): void {
    while (!this.#gone && this.#queue.length > 0 && this.#link.sentPieces === this.#pushed) {
      const length = this.#fill();
      this.#link.push(this.#block, 0, length);
      this.#pushed++;
      this.#link.flush();
    }
  }

  #fill(): number {
    let at = 0;
    while (this.#queue.length > 0 && at < BLOCK_BYTES) {
      const [first] = this.#queue;
      const part = first.subarray(0, BLOCK_BYTES - at);
      this.#block.set(part, at);
      at += part.length;
      if (part.length === first.length) this.#queue.shift();
      else this.#queue[0] = first.subarray(part.length);
    }
    this.#queuedBytes -= at;
    return at;
  }

  #end(error: BlockError | null): void {
    if (this.#gone) return;
    this.#gone = true;
    this.#stopTimer();
    this.#memory.free(this.#window);
    this.#memory.free(this.#block);
    this.#owner.closed(error);
  }
}
