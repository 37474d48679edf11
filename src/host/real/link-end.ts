// Closes a stream's socket: at once, or after the queued data has been sent.
import type { Socket } from 'node:net';
import type { LinkOwner } from '../net.js';

/** Time that the other side has to take what is queued, where its link is closed gracefully, and to end its own stream while it still sends. */
const SENDING_MS = 3000;
/**
 * Time that the other side has to end the stream, too, when it has been sent everything and sends nothing. Most do so at once. One that does not (an idle
 * client that keeps its connection) is not to hold up the end of a server.
 */
const LEAVING_MS = 100;

/** What a link that is being closed has still to do. */
export interface Leaving {
  /** Bytes that the system has not taken yet. */
  unsentBytes(): number;
  /** Bytes that were received and dropped so far. */
  droppedBytes(): number;
}

/**
 * Calls `close` at the end of the time that the other side has. One that sends is waited for: if the socket were closed with unread bytes, the system
 * would reset the connection, and the other side could lose what it has not read yet. The result cancels it.
 */
export function closeInTime({ unsentBytes, droppedBytes }: Leaving, close: () => void): () => void {
  let timer: NodeJS.Timeout;
  const deadline = Date.now() + SENDING_MS;
  const look = (before: number): void => {
    timer = setTimeout(() => {
      const dropped = droppedBytes();
      const busy = dropped > before || unsentBytes() > 0;
      if (busy && Date.now() < deadline) look(dropped);
      else close();
    }, LEAVING_MS);
  };
  look(droppedBytes());
  return () => clearTimeout(timer);
}

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
    const leaving = { unsentBytes: () => socket.writableLength, droppedBytes: () => socket.bytesRead };
    const cancel = closeInTime(leaving, () => socket.destroy());
    socket.once('close', cancel);
    socket.end();
    socket.resume();
    return this.#closed;
  }
}
