// Closes a stream's socket: at once, or after the queued data has been sent.
import type { Socket } from 'node:net';
import type { LinkOwner } from '../net.js';

/** Time that the other side has to take what is queued, where its link is closed gracefully. */
const SENDING_MS = 3000;
/**
 * Time that the other side has to end the stream, too, when it has been sent everything. Most do so at once. One that does not (an idle client that
 * keeps its connection) is not to hold up the end of a server.
 */
const LEAVING_MS = 100;

/** The time limit of a graceful close, milliseconds; `unsentBytes`: those that the system has not taken yet. */
export const closeLimitMs = (unsentBytes: number): number => (unsentBytes > 0 ? SENDING_MS : LEAVING_MS);

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
    const timer = setTimeout(() => socket.destroy(), closeLimitMs(socket.writableLength));
    socket.once('close', () => clearTimeout(timer));
    socket.end();
    socket.resume();
    return this.#closed;
  }
}
