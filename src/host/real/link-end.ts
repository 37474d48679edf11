// How a stream's socket ends: at once, or after what waits has been sent.
import type { Socket } from 'node:net';
import type { LinkOwner } from '../net.js';

/** What a graceful end may take in all. */
export const LIMIT_MS = 3000;

/** The owner of a link that has none yet. */
export const NOBODY: LinkOwner = { received: () => {}, progressed: () => {}, closed: () => {} };

export class Ending {
  #socket: Socket;
  #closed: Promise<void>;

  constructor(socket: Socket) {
    this.#socket = socket;
    this.#closed = new Promise((resolve) => socket.once('close', () => resolve()));
  }

  /**
   * Graceful: sends what waits and the end of the stream, then reads on (to nowhere) until the other side ends, too. To close with bytes
   * unread would make the system take back what the other side has not read yet.
   */
  end(graceful: boolean): Promise<void> {
    const socket = this.#socket;
    if (!graceful || socket.destroyed) {
      socket.destroy();
      return this.#closed;
    }
    const timer = setTimeout(() => socket.destroy(), LIMIT_MS);
    socket.once('close', () => clearTimeout(timer));
    socket.end();
    socket.resume();
    return this.#closed;
  }
}
