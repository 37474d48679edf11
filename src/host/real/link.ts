// A link over a connected socket. The addon receives and sends the bytes; this class only passes windows and pieces to it.
//
//   window -> row -> recv -> received(n)        push push push -> table -> flush: one call, one sendmsg
//                                               pushFile: pages of the page cache -> pipe -> table -> flush: splice

import type { Socket } from 'node:net';
import { detach } from '../../util/best-effort.js';
import { BlockError } from '../../util/errors.js';
import type { Link, LinkOwner, SentFile, TlsSettings } from '../net.js';
import { RealFile } from './file.js';
import { closeInTime, NO_OWNER } from './link-end.js';
import { errnoLinkError } from './net-errors.js';
import type { OpenSockets } from './open-sockets.js';
import {
  type PieceTable,
  ROW_DOUBLES,
  Row,
  SocketEvent,
  type SocketHandler,
  SocketKind,
  type Sockets,
  TABLE_PIECES,
} from './sockets.js';
import { startTls } from './tls.js';

const PAGE_BYTES = 4096;
/** Bytes of a file that one pipe holds, and pipes that one message may have: the others share what there is. */
const HELD_BYTES = 1024 * 1024;
const HELD_PARTS = 4;
const NONE = -1;
/** What is below is no address but the number of a pipe (native/socket.h). */
const FIRST_ADDRESS = 4096;

/** The handler until there is a link: the socket is not watched yet, so it has no events. */
const NO_HANDLER: SocketHandler = { onSocket: () => {} };

export class SocketLink implements Link, SocketHandler {
  owner: LinkOwner = NO_OWNER;
  readonly peer: string;
  readonly tls = null;
  #sockets: Sockets;
  #open: OpenSockets;
  /** The socket's id in `Sockets`; -1 when the socket is gone. */
  #id: number;
  #row: number;
  #table: PieceTable | null = null;
  #count = 0;
  #tableBytes = 0;
  /** `sentPieces` of a link whose socket is gone. */
  #lastSentPieces = 0;
  /** The owner is not called any more. */
  #silent = false;
  #finishing = false;
  #stopTimer = (): void => undefined;
  #ended: Promise<void>;
  #end: () => void = () => undefined;

  /** `id`: the id of a connected socket. */
  constructor(sockets: Sockets, id: number, peer: string, open: OpenSockets) {
    this.#sockets = sockets;
    this.#id = id;
    this.#row = id * ROW_DOUBLES;
    this.peer = peer;
    this.#open = open;
    this.#ended = new Promise((resolve) => {
      this.#end = resolve;
    });
    sockets.handle(id, this);
    open.add(this);
  }

  /** A link over `fd`, which the link takes over. Throws where the system, or the host, has too many sockets. */
  static over(sockets: Sockets, fd: number, peer: string, open: OpenSockets): SocketLink {
    const id = sockets.attach(fd, SocketKind.connected, NO_HANDLER);
    if (id < 0) throw errnoLinkError(id, peer);
    return new SocketLink(sockets, id, peer, open);
  }

  get sentPieces(): number {
    return this.#id < 0 ? this.#lastSentPieces : this.#sockets.rows[this.#row + Row.sentPieces];
  }

  get unsentBytes(): number {
    return this.#id < 0 ? 0 : this.#tableBytes + this.#sockets.rows[this.#row + Row.unsentBytes];
  }

  get gatheredBytes(): number {
    return this.#id < 0 ? 0 : this.#sockets.rows[this.#row + Row.gathered];
  }

  window(buffer: Uint8Array, start: number, end: number, whole = false): void {
    if (this.#silent) return;
    const { rows, calls } = this.#sockets;
    const row = this.#row;
    rows[row + Row.whole] = whole ? 1 : 0;
    if (start === end) {
      rows[row + Row.bytes] = 0;
      return;
    }
    rows[row + Row.address] = this.#addressOf(buffer, start, end);
    rows[row + Row.bytes] = end - start;
    if (rows[row + Row.armed] === 0) calls.socketArm(this.#id);
  }

  push(buffer: Uint8Array, start: number, end: number): void {
    if (this.#silent) return;
    this.#add(this.#addressOf(buffer, start, end), end - start);
  }

  #add(address: number, bytes: number): void {
    if (this.#count === TABLE_PIECES) this.flush();
    this.#table ??= this.#sockets.takeTable();
    const { pairs } = this.#table;
    const at = 2 * this.#count++;
    pairs[at] = address;
    pairs[at + 1] = bytes;
    this.#tableBytes += bytes;
  }

  pushFile(head: Uint8Array, start: number, end: number, file: SentFile, offset: number, length: number): number {
    if (this.#silent || !(file instanceof RealFile) || !file.movable) return 0;
    const { fd } = file.side('send', false);
    const { calls } = this.#sockets;
    // Before anything is held: there may be no memory for it. One table takes the header and all parts.
    if (this.#count + 1 + HELD_PARTS > TABLE_PIECES) this.flush();
    this.#table ??= this.#sockets.takeTable();
    const held: number[] = [];
    const lengths: number[] = [];
    for (let at = offset, stop = offset + length; at < stop; ) {
      // Whole pages but at both ends, so that each part needs no more of them than a pipe holds.
      const part = Math.min(stop, at - (at % PAGE_BYTES) + HELD_BYTES) - at;
      const pipe = held.length === HELD_PARTS ? NONE : calls.socketHold(this.#id, fd, at, part);
      if (pipe < 0) {
        for (const one of held) calls.socketDrop(one);
        return 0;
      }
      held.push(pipe);
      lengths.push(part);
      at += part;
    }
    this.push(head, start, end);
    for (let i = 0; i < held.length; i++) this.#add(held[i], lengths[i]);
    return 1 + held.length;
  }

  flush(): boolean {
    if (this.#silent) return false;
    const table = this.#table;
    if (table === null) return this.#sockets.rows[this.#row + Row.unsentBytes] === 0;
    const done = this.#sockets.calls.socketFlush(this.#id, table.address, this.#count);
    this.#returnTable();
    return done;
  }

  async startTls(settings: TlsSettings, timeoutMs: number): Promise<Link> {
    if (this.#silent || this.unsentBytes > 0) {
      detach('socket', this.close());
      throw this.#error('bad-state', 'TLS cannot start while data waits to be sent');
    }
    this.#silent = true;
    const id = this.#id;
    this.#leave();
    const fd = this.#sockets.detach(id);
    if (fd < 0) throw errnoLinkError(fd, this.peer);
    return startTls(streamOf(fd), this.peer, settings, timeoutMs, this.#open);
  }

  close(graceful = false): Promise<void> {
    if (this.#id >= 0) {
      if (!graceful) {
        const id = this.#id;
        this.#leave();
        this.#sockets.close(id);
      } else if (!this.#finishing) {
        this.#finishing = true;
        this.flush();
        this.#sockets.calls.socketFinish(this.#id);
        const leaving = {
          unsentBytes: () => this.unsentBytes,
          droppedBytes: () => this.#sockets.rows[this.#row + Row.drained],
        };
        this.#stopTimer = closeInTime(leaving, () => detach('socket', this.close()));
      }
    }
    this.#silent = true;
    return this.#ended;
  }

  takeDescriptors(): void {
    if (!this.#silent) this.#sockets.calls.socketTakeDescriptors(this.#id);
  }

  onSocket(event: number, value: number): void {
    if (event === SocketEvent.descriptor) {
      const { owner } = this;
      if (!this.#silent && owner.descriptor !== undefined) owner.descriptor(value);
      else this.#sockets.native.closeSocket(value);
    } else if (event === SocketEvent.received) {
      if (!this.#silent) this.owner.received(value);
    } else if (event === SocketEvent.progressed) {
      if (!this.#silent) this.owner.progressed();
    } else if (event === SocketEvent.closed) {
      const heard = !this.#silent;
      this.#silent = true;
      this.#leave();
      if (heard) this.owner.closed(value === 0 ? null : errnoLinkError(value, this.peer));
    }
  }

  /** Called when the socket is gone, or about to be closed. */
  #leave(): void {
    this.#lastSentPieces = this.#sockets.rows[this.#row + Row.sentPieces];
    this.#id = -1;
    this.#dropTable();
    this.#stopTimer();
    this.#open.delete(this);
    this.#end();
  }

  /** Pieces that were not flushed. */
  #dropTable(): void {
    for (let i = 0; i < this.#count; i++) {
      const address = (this.#table as PieceTable).pairs[2 * i];
      if (address < FIRST_ADDRESS) this.#sockets.calls.socketDrop(address);
    }
    this.#returnTable();
  }

  #returnTable(): void {
    if (this.#table !== null) this.#sockets.returnTable(this.#table);
    this.#table = null;
    this.#count = 0;
    this.#tableBytes = 0;
  }

  #addressOf(buffer: Uint8Array, start: number, end: number): number {
    const address = this.#sockets.memory.addressOf(buffer);
    if (address !== 0 && start >= 0 && start <= end && end <= buffer.byteLength) return address + start;
    const why = address === 0 ? 'not memory of this host' : `invalid part of a buffer: ${start} to ${end}`;
    throw this.#error('invalid-argument', why);
  }

  #error(code: 'bad-state' | 'invalid-argument', why: string): BlockError {
    return BlockError.at(this.peer, code, why, { operation: 'socket' });
  }
}

/** A socket of node, which TLS needs. */
function streamOf(fd: number): Socket {
  const { Socket } = process.getBuiltinModule('node:net');
  const socket = new Socket({ fd, readable: true, writable: true });
  socket.pause();
  socket.setNoDelay(true);
  return socket;
}
