// A link over a stream of node, for TLS: node:tls works on streams only.
//
//   'data' chunk --copied--> window --received(n)--> the owner sets the next window; repeated until the chunk is used up
//   push push push flush --cork, one write for each piece--> write callbacks count the pieces --> progressed()
//
// An empty window pauses the stream; the rest of a chunk is kept until a window is set again.
import type { Socket } from 'node:net';
import { BlockError } from '../../util/errors.js';
import type { Link, LinkOwner, TlsPeer } from '../net.js';
import { Ending, NO_OWNER } from './link-end.js';
import { linkError } from './net-errors.js';
import type { OpenSockets } from './open-sockets.js';

export class StreamLink implements Link {
  owner: LinkOwner = NO_OWNER;
  readonly peer: string;
  readonly tls: TlsPeer;
  #socket: Socket;
  #open: OpenSockets;
  #target: Uint8Array = new Uint8Array(0);
  #start = 0;
  #end = 0;
  /** The rest of the last chunk. */
  #rest: Buffer | null = null;
  #delivering = false;
  #scheduled = false;
  #pieces: Buffer[] = [];
  #pieceBytes = 0;
  #pushed = 0;
  #sent = 0;
  #progress = false;
  #error: BlockError | null = null;
  /** The owner is not called any more: it closed the link, replaced it by TLS, or got `closed`. */
  #silent = false;
  #ending: Ending;
  readonly #listeners = {
    data: (chunk: Buffer) => this.#onData(chunk),
    end: () => this.#finish(null),
    error: (error: Error) => {
      this.#error ??= linkError(error, this.peer);
    },
    close: () => {
      this.#open.delete(this);
      this.#finish(this.#error);
    },
  };
  readonly #written = (error?: Error | null) => this.#onWritten(error);

  constructor(socket: Socket, peer: string, tls: TlsPeer, open: OpenSockets) {
    this.#socket = socket;
    this.peer = peer;
    this.tls = tls;
    this.#open = open;
    open.add(this);
    this.#ending = new Ending(socket);
    // Paused before a listener for data is added, which would start the flow.
    socket.pause();
    for (const [event, listener] of Object.entries(this.#listeners)) socket.on(event, listener);
  }

  /** None can be passed through TLS. */
  takeDescriptors(): void {}

  get sentPieces(): number {
    return this.#sent;
  }

  get unsentBytes(): number {
    return this.#pieceBytes + this.#socket.writableLength;
  }

  /** Bytes are passed on as they come. */
  get gatheredBytes(): number {
    return 0;
  }

  window(buffer: Uint8Array, start: number, end: number): void {
    this.#target = buffer;
    this.#start = start;
    this.#end = end;
    if (this.#delivering || this.#silent) return;
    if (start === end) this.#socket.pause();
    else if (this.#rest === null) this.#socket.resume();
    else if (!this.#scheduled) {
      this.#scheduled = true;
      queueMicrotask(() => {
        this.#scheduled = false;
        this.#deliver();
      });
    }
  }

  push(buffer: Uint8Array, start: number, end: number): void {
    this.#pieces.push(Buffer.from(buffer.buffer, buffer.byteOffset + start, end - start));
    this.#pieceBytes += end - start;
    this.#pushed++;
  }

  /** What TLS sends is another text than the file's. */
  pushFile(): number {
    return 0;
  }

  flush(): boolean {
    const pieces = this.#pieces;
    if (pieces.length > 0 && !this.#silent) {
      this.#pieces = [];
      this.#pieceBytes = 0;
      this.#socket.cork();
      for (const piece of pieces) this.#socket.write(piece, this.#written);
      this.#socket.uncork();
    }
    return this.#sent === this.#pushed;
  }

  async startTls(): Promise<Link> {
    throw BlockError.at(this.peer, 'bad-state', 'the link has TLS already', { operation: 'tls' });
  }

  close(graceful = false): Promise<void> {
    this.#silent = true;
    this.#rest = null;
    return this.#ending.end(graceful);
  }

  #onData(chunk: Buffer): void {
    if (this.#silent) return;
    this.#rest = chunk;
    this.#deliver();
  }

  #deliver(): void {
    this.#delivering = true;
    while (this.#rest !== null && this.#start < this.#end && !this.#silent) {
      const chunk: Buffer = this.#rest;
      const count = Math.min(chunk.length, this.#end - this.#start);
      this.#target.set(count === chunk.length ? chunk : chunk.subarray(0, count), this.#start);
      this.#rest = count === chunk.length ? null : chunk.subarray(count);
      this.#start = this.#end;
      this.owner.received(count);
    }
    this.#delivering = false;
    if (this.#silent) return;
    if (this.#start < this.#end) this.#socket.resume();
    else this.#socket.pause();
  }

  #onWritten(error?: Error | null): void {
    if (error) return;
    this.#sent++;
    if (this.#progress) return;
    // The stream calls back for each piece of one flush: the owner is called once for all of them.
    this.#progress = true;
    queueMicrotask(() => {
      this.#progress = false;
      if (!this.#silent) this.owner.progressed();
    });
  }

  #finish(error: BlockError | null): void {
    if (this.#silent) return;
    this.#silent = true;
    this.#socket.destroy();
    this.owner.closed(error);
  }
}
