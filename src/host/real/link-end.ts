// Closes a stream's socket: at once, or after the queued data has been sent.
import type { Socket } from 'node:net';
import type { LinkOwner } from '../net.js';

/** Time limit of a graceful close. */
export const LIMIT_MS = 3000;

/** The owner of a link that has none yet. */
export const NO_OWNER: LinkOwner = { received: () => {}, progressed: () => {}, closed: () => {} };

export class Ending {
  #socket: Socket;
  #closed: Promise<void>;

  constructor(socket: Socket) {
    this.#socket = socket;
    this.#closed = new Promise((resolve) => socket.once('close', () => resolve()));
  }

  /**
   * Closes the socket. `graceful`: sends the queued data and the end of the stream, then reads, and drops, data until the other side ends the stream, too. If
   * the socket were closed with unread bytes, the system would reset the connection, and the other side could lose data that it has not read yet.
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
