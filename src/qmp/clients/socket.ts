// A monitor's client at a socket of the host.
//
//   socket --window--> session            queue of answers --block by block--> socket
//
// Both blocks are allocated when the client comes: however full the host's memory is later, the monitor goes on to answer.

import type { Memory } from '../../host/host.js';
import type { Link, LinkOwner } from '../../host/net.js';
import { detach } from '../../util/best-effort.js';
import type { QmpContext } from '../context.js';
import { Session, type SessionLink, type SessionOptions } from '../session.js';

const BLOCK_BYTES = 64 * 1024;

export class SocketClient implements LinkOwner, SessionLink {
  readonly #memory: Memory;
  readonly #link: Link;
  readonly #session: Session;
  readonly #onClosed: () => void;
  readonly #window: Uint8Array;
  readonly #block: Uint8Array;
  /** What does not fit the block yet, the oldest first. */
  readonly #queue: Buffer[] = [];
  #queuedBytes = 0;
  /** Blocks that were given to the link. */
  #pushed = 0;
  #receiving = true;
  #gone = false;

  /** Greets the client. `onClosed` is called once, when it is gone. Throws `limit` where the host has no memory for it. */
  constructor(context: QmpContext, link: Link, options: SessionOptions, onClosed: () => void) {
    const { memory } = context.graph.host;
    this.#memory = memory;
    this.#link = link;
    this.#onClosed = onClosed;
    this.#window = memory.allocate(BLOCK_BYTES);
    try {
      this.#block = memory.allocate(BLOCK_BYTES);
    } catch (error) {
      memory.free(this.#window);
      throw error;
    }
    link.owner = this;
    this.#session = new Session(context, this, options);
    this.#session.start();
    this.#listen();
  }

  // ---- the link's owner ----------------------------------------------------------------------------------------

  received(count: number): void {
    this.#session.received(this.#window.subarray(0, count));
    this.#listen();
  }

  progressed(): void {
    this.#send();
  }

  closed(): void {
    this.#end();
  }

  // ---- the session's link --------------------------------------------------------------------------------------

  write(text: string): void {
    if (this.#gone) return;
    const bytes = Buffer.from(text, 'latin1');
    this.#queue.push(bytes);
    this.#queuedBytes += bytes.length;
    this.#send();
  }

  get backlogBytes(): number {
    return this.#queuedBytes + this.#link.unsentBytes;
  }

  receive(on: boolean): void {
    this.#receiving = on;
    this.#listen();
  }

  drop(): void {
    detach('monitor', this.close(false));
  }

  /** Ends the connection; `graceful` sends first what was written, within a few seconds. Resolves when the socket is closed. */
  async close(graceful: boolean): Promise<void> {
    if (this.#gone) return;
    this.#session.close();
    await this.#link.close(graceful);
    this.#end();
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

  #end(): void {
    if (this.#gone) return;
    this.#gone = true;
    this.#session.close();
    this.#memory.free(this.#window);
    this.#memory.free(this.#block);
    this.#onClosed();
  }
}
