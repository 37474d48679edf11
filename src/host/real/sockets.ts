// The sockets of one host. The addon knows each by a number, its id: for each id there is a row of numbers that both sides share, and a handler, which is
// called for its events.
//
//   addon --event(id, ...)--> handlers[id] --> link, listener, connection attempt
//
// See native/socket.h for the row.
import { BlockError } from '../../util/errors.js';
import type { Native, NativeEngine } from './binding.js';
import type { ArenaMemory } from './memory.js';

/** The same as in native/socket.h. */
export const SocketEvent = {
  received: 1,
  progressed: 2,
  closed: 3,
  accepted: 4,
  acceptFailed: 5,
  connected: 6,
  descriptor: 7,
} as const;

export const SocketKind = { connected: 0, connecting: 1, listening: 2 } as const;

export const ROW_DOUBLES = 8;
/** Indexes of the fields in a row. */
export const Row = {
  address: 0,
  bytes: 1,
  sentPieces: 2,
  unsentBytes: 3,
  armed: 4,
  drained: 5,
  gathered: 6,
  whole: 7,
} as const;

/** Limit of sockets of one host. Rows take memory only once they are used. */
const LIMIT = 16384;
const TABLE_BYTES = 4096;
/** Pieces that a table holds. */
export const TABLE_PIECES = TABLE_BYTES / 16;

export interface SocketHandler {
  /** Called for each event. After `SocketEvent.closed`, the id may belong to another socket. */
  onSocket(event: number, value: number): void;
}

/** Memory that passes pieces to the addon: pairs of address and length. */
export interface PieceTable {
  pairs: Float64Array;
  address: number;
}

export class Sockets {
  readonly rows: Float64Array;
  readonly native: Native;
  readonly calls: NativeEngine;
  readonly memory: ArenaMemory;
  #handlers: (SocketHandler | null)[] = [];
  #freeIds: number[] = [];
  #tables: PieceTable[] = [];

  constructor(native: Native, calls: NativeEngine, memory: ArenaMemory) {
    this.native = native;
    this.calls = calls;
    this.memory = memory;
    const rows = new ArrayBuffer(LIMIT * ROW_DOUBLES * 8);
    this.rows = new Float64Array(rows);
    calls.openSockets(rows, (id, event, value) => {
      const handler = this.#handlers[id];
      if (handler === null) return;
      if (event === SocketEvent.closed) this.#forget(id);
      handler.onSocket(event, value);
    });
  }

  /** Takes over `fd`, and returns its id; -errno where that fails (then `fd` is closed). Throws `limit`. */
  attach(fd: number, kind: number, handler: SocketHandler): number {
    const id = this.#freeIds.pop() ?? this.#handlers.length;
    if (id >= LIMIT) {
      this.native.closeSocket(fd);
      throw new BlockError('limit', `more than ${LIMIT} sockets at once`, { operation: 'socket' });
    }
    this.#handlers[id] = handler;
    const failed = this.calls.socketAttach(id, fd, kind);
    if (failed === 0) return id;
    this.#forget(id);
    return failed;
  }

  /** Sets the object that is called for `id` from now on. */
  handle(id: number, handler: SocketHandler): void {
    this.#handlers[id] = handler;
  }

  close(id: number): void {
    this.calls.socketClose(id);
    this.#forget(id);
  }

  /** Gives up the socket without closing it, and returns its descriptor, or -errno. */
  detach(id: number): number {
    const fd = this.calls.socketDetach(id);
    this.#forget(id);
    return fd;
  }

  takeTable(): PieceTable {
    const table = this.#tables.pop();
    if (table !== undefined) return table;
    const view = this.memory.allocate(TABLE_BYTES);
    const pairs = new Float64Array(view.buffer, view.byteOffset, TABLE_PIECES * 2);
    return { pairs, address: this.memory.addressOf(view) };
  }

  returnTable(table: PieceTable): void {
    this.#tables.push(table);
  }

  #forget(id: number): void {
    this.#handlers[id] = null;
    this.#freeIds.push(id);
  }
}
