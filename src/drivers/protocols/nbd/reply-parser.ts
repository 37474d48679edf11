// Parses the replies of one connection in the transmission phase (specification: NBD protocol, "Transmission phase"). Replies are received into one
// block of memory; the payload of a large read is received directly into the read's buffer.
//
//   block   [ reply | chunk data data | chunk er.. ]          received and not parsed yet: [#at, #filled)
//                          \--copy--> the buffer of the read
//   window on the buffer of the read itself: the rest of a large chunk, once the block is empty
//
//   head --simple reply--------------------------------------------------+
//     \--chunk--> small: the fixed part of the payload                   v
//                    |--error, hole, empty chunk------------------> end of the chunk --last--> answered(slot)
//                    |--data: offset------> data: its bytes ----------^
//                    |--block status: id--> status: run, run, ... ----^
//
// The server is not trusted: each reply must belong to a request that is under way, and each byte of data must lie in the requested range and come
// once. Otherwise the connection is dropped.

import type { Host } from '../../../host/host.js';
import type { Link } from '../../../host/net.js';
import { HIGH_WORD, viewBe64, viewOf } from '../../../util/bytes.js';
import {
  Chunk,
  ChunkFlag,
  Command,
  EXTENDED_REPLY_BYTES,
  EXTENDED_REPLY_MAGIC,
  MAX_PAYLOAD_BYTES,
  MAX_STRING_BYTES,
  NbdError,
  SIMPLE_REPLY_BYTES,
  SIMPLE_REPLY_MAGIC,
  STRUCTURED_REPLY_BYTES,
  STRUCTURED_REPLY_MAGIC,
} from '../../../wire/nbd/constants.js';
import { chunkLength, ReplyField } from '../../../wire/nbd/headers.js';
import type { Negotiated } from './handshake.js';
import { printable } from './handshake-steps.js';
import { ReadCover } from './read-cover.js';
import { type RequestTable, SlotState } from './requests.js';

const BLOCK_BYTES = 256 * 1024;
/** Reads of at least so many bytes are received into their buffer; while there is one, little is received into the block. */
const LARGE_BYTES = 32 * 1024;
const LARGE_WINDOW_BYTES = 4096;
/** Longest payload of a chunk without data: an error with its text. */
const MAX_SMALL_PAYLOAD = MAX_STRING_BYTES + 64;

export interface ReplyUser {
  /** False once the connection was dropped: then parsing ends. */
  readonly open: boolean;
  /** The reply to the request in `slot` is complete; `table.error` has the error that the server reported. */
  replied(slot: number): void;
  /** The server broke the protocol: the connection is to be dropped. */
  broken(why: string): void;
}

/** What is received next. */
const Stage = { head: 0, small: 1, data: 2, status: 3 } as const;

export class ReplyParser {
  readonly #host: Host;
  readonly #negotiated: Negotiated;
  readonly #table: RequestTable;
  readonly #index: number;
  readonly #user: ReplyUser;
  readonly #cover: ReadCover;
  readonly #block: Uint8Array;
  readonly #view: DataView;
  #at = 0;
  #filled = 0;
  #stage: number = Stage.head;
  /** The request and the chunk that are being received; `#done`: the chunk is the last of its reply. */
  #slot = 0;
  #chunk = 0;
  #done = false;
  /** Bytes of the payload that are still to be received, and where in the request's buffer the next of them is put. */
  #left = 0;
  #target = 0;
  /** The link's window is on the request's buffer. */
  #direct = false;
  /** Large reads under way. */
  #largeReads = 0;

  /** `index`: the connection's index. A reply must belong to a request that was sent over this connection. */
  constructor(host: Host, negotiated: Negotiated, table: RequestTable, index: number, user: ReplyUser) {
    this.#host = host;
    this.#negotiated = negotiated;
    this.#table = table;
    this.#index = index;
    this.#user = user;
    this.#cover = new ReadCover(table);
    this.#block = host.memory.allocate(BLOCK_BYTES);
    this.#view = viewOf(this.#block);
  }

  /** Called when the request in `slot` is sent. */
  expect(slot: number): void {
    if (this.#isLargeRead(slot)) this.#largeReads++;
  }

  /** Called when the request in `slot` was answered, before its slot is used for another request. */
  forget(slot: number): void {
    if (this.#isLargeRead(slot)) this.#largeReads--;
  }

  /** `count` bytes have been received at the start of the window. */
  received(count: number): void {
    if (this.#direct) this.#receivedDirect(count);
    else this.#filled += count;
    while (this.#user.open && this.#step());
  }

  /** Sets the link's window for the next bytes. */
  window(link: Link): void {
    if (this.#at === this.#filled) {
      this.#at = 0;
      this.#filled = 0;
      const buffer = this.#table.buffer[this.#slot];
      if (this.#stage === Stage.data && buffer !== null && this.#host.memory.owns(buffer)) {
        this.#direct = true;
        link.window(buffer, this.#target, this.#target + this.#left, true);
        return;
      }
    } else if (this.#at > 0) {
      this.#block.copyWithin(0, this.#at, this.#filled);
      this.#filled -= this.#at;
      this.#at = 0;
    }
    const size = this.#largeReads > 0 ? Math.max(LARGE_WINDOW_BYTES, 2 * this.#filled) : this.#block.length;
    link.window(this.#block, this.#filled, Math.min(size, this.#block.length));
  }

  /** Frees the memory. The link must not use it any more. */
  release(): void {
    this.#host.memory.free(this.#block);
  }

  #isLargeRead(slot: number): boolean {
    return this.#table.command[slot] === Command.read && this.#table.length[slot] >= LARGE_BYTES;
  }

  #receivedDirect(count: number): void {
    this.#direct = false;
    this.#target += count;
    this.#left -= count;
  }

  /** Parses the next part of the received bytes. False where more bytes are needed first, or the connection was dropped. */
  #step(): boolean {
    switch (this.#stage) {
      case Stage.head:
        return this.#head();
      case Stage.small:
        return this.#small();
      case Stage.data:
        return this.#data();
      default:
        return this.#status();
    }
  }

  #head(): boolean {
    const available = this.#filled - this.#at;
    if (available < SIMPLE_REPLY_BYTES) return false;
    const view = this.#view;
    const at = this.#at;
    const { structured, extended } = this.#negotiated;
    const magic = view.getUint32(at);
    if (magic === SIMPLE_REPLY_MAGIC && !extended) {
      this.#at += SIMPLE_REPLY_BYTES;
      return this.#simple(
        view.getUint32(at + ReplyField.error),
        view.getUint32(at + ReplyField.cookieHigh),
        view.getUint32(at + ReplyField.cookieLow),
      );
    }
    const bytes = extended ? EXTENDED_REPLY_BYTES : STRUCTURED_REPLY_BYTES;
    if (!structured || magic !== (extended ? EXTENDED_REPLY_MAGIC : STRUCTURED_REPLY_MAGIC)) {
      return this.#broken('a reply has the wrong magic number');
    }
    if (available < bytes) return false;
    this.#at += bytes;
    const flags = view.getUint16(at + ReplyField.flags);
    this.#chunk = view.getUint16(at + ReplyField.type);
    if (!this.#find(view.getUint32(at + ReplyField.cookieHigh), view.getUint32(at + ReplyField.cookieLow)))
      return false;
    const length = chunkLength(view, at, extended);
    if (length >= HIGH_WORD) return this.#broken('a reply is too long');
    this.#left = length;
    this.#done = (flags & ChunkFlag.done) !== 0;
    return this.#chunkHead();
  }

  #simple(error: number, use: number, slot: number): boolean {
    if (!this.#find(use, slot)) return false;
    const command = this.#table.command[slot];
    this.#done = true;
    if (error !== 0) return this.#failed(error, '');
    if (command === Command.blockStatus || (command === Command.read && this.#negotiated.structured)) {
      return this.#broken('a reply that must be structured is not');
    }
    if (command !== Command.read) return this.#chunkEnd();
    return this.#startData(this.#table.offset[slot], this.#table.length[slot]);
  }

  #chunkHead(): boolean {
    const chunk = this.#chunk;
    const command = this.#table.command[this.#slot];
    if (chunk === Chunk.none) {
      if (this.#left !== 0 || !this.#done) return this.#broken('an empty chunk is not empty, or not the last');
      return this.#chunkEnd();
    }
    const status = this.#negotiated.extended ? Chunk.blockStatusExtended : Chunk.blockStatus;
    if (chunk === status && command === Command.blockStatus) {
      if (this.#left > MAX_PAYLOAD_BYTES) return this.#broken('a block status is too long');
      this.#stage = Stage.small;
      return true;
    }
    if (command === Command.read && (chunk === Chunk.offsetData || chunk === Chunk.offsetHole)) {
      const longest = chunk === Chunk.offsetHole ? 12 : 8 + this.#table.length[this.#slot];
      if (this.#left < (chunk === Chunk.offsetHole ? 12 : 9) || this.#left > longest) {
        return this.#broken('a read chunk has an invalid length');
      }
      this.#stage = Stage.small;
      return true;
    }
    if ((chunk & 0x8000) === 0) return this.#broken(`a reply has an unexpected chunk of type ${chunk}`);
    if (this.#left < 6 || this.#left > MAX_SMALL_PAYLOAD) return this.#broken('an error chunk has an invalid length');
    this.#stage = Stage.small;
    return true;
  }

  /** Parses the fixed part of a payload: all of it, except in chunks of data and block status. */
  #small(): boolean {
    const chunk = this.#chunk;
    const isStatus = chunk === Chunk.blockStatus || chunk === Chunk.blockStatusExtended;
    const need = isStatus ? (this.#negotiated.extended ? 8 : 4) : chunk === Chunk.offsetData ? 8 : this.#left;
    if (isStatus && this.#left < need) return this.#broken('a block status is too short');
    if (this.#filled - this.#at < need) return false;
    const at = this.#at;
    const view = this.#view;
    this.#at += need;
    this.#left -= need;
    if (isStatus) {
      const entry = this.#negotiated.extended ? 16 : 8;
      if (view.getUint32(at) !== this.#negotiated.contextId) {
        return this.#broken('a block status is of a context that was not requested');
      }
      const counted = !this.#negotiated.extended || view.getUint32(at + 4) * entry === this.#left;
      if (this.#left === 0 || this.#left % entry !== 0 || !counted) return this.#broken('a block status is cut off');
      if (this.#table.runs[this.#slot]!.count > 0) return this.#broken('a block status comes twice');
      this.#stage = Stage.status;
      return true;
    }
    if (chunk === Chunk.offsetData || chunk === Chunk.offsetHole) {
      const offset = viewBe64(view, at);
      if (chunk === Chunk.offsetData) return this.#startData(offset, this.#left);
      const length = view.getUint32(at + 8);
      if (length === 0 || !this.#cover.add(this.#slot, offset, length)) return this.#misplaced();
      const from = this.#table.start[this.#slot] + offset - this.#table.offset[this.#slot];
      this.#table.buffer[this.#slot]!.fill(0, from, from + length);
      return this.#chunkEnd();
    }
    const error = view.getUint32(at);
    const textBytes = view.getUint16(at + 4);
    if (error === 0 || textBytes > need - 6) return this.#broken('an error chunk is malformed');
    return this.#failed(error, printable(this.#block.subarray(at + 6, at + 6 + textBytes)));
  }

  #startData(offset: number, length: number): boolean {
    if (!this.#cover.add(this.#slot, offset, length)) return this.#misplaced();
    this.#target = this.#table.start[this.#slot] + offset - this.#table.offset[this.#slot];
    this.#left = length;
    this.#stage = Stage.data;
    return true;
  }

  #data(): boolean {
    const count = Math.min(this.#left, this.#filled - this.#at);
    if (count > 0) {
      this.#table.buffer[this.#slot]!.set(this.#block.subarray(this.#at, this.#at + count), this.#target);
      this.#at += count;
      this.#target += count;
      this.#left -= count;
    }
    return this.#left === 0 && this.#chunkEnd();
  }

  #status(): boolean {
    const { extended } = this.#negotiated;
    const entry = extended ? 16 : 8;
    const view = this.#view;
    const runs = this.#table.runs[this.#slot]!;
    while (this.#left > 0) {
      if (this.#filled - this.#at < entry) return false;
      const at = this.#at;
      const length = extended ? viewBe64(view, at) : view.getUint32(at);
      if (!runs.add(length, view.getUint32(at + entry - 4))) return this.#broken('a block status is malformed');
      this.#at += entry;
      this.#left -= entry;
    }
    return this.#chunkEnd();
  }

  /** The server reports an error of the request; more chunks may follow. */
  #failed(error: number, message: string): boolean {
    const table = this.#table;
    if (error === NbdError.shutdown) return this.#broken('the server is shutting down');
    if (table.error[this.#slot] === 0) {
      table.error[this.#slot] = error;
      table.message[this.#slot] = message;
    }
    return this.#chunkEnd();
  }

  #chunkEnd(): boolean {
    this.#stage = Stage.head;
    if (!this.#done) return true;
    const table = this.#table;
    const slot = this.#slot;
    if (table.error[slot] === 0) {
      if (table.command[slot] === Command.read && table.received[slot] !== table.length[slot]) {
        return this.#broken('a read ends before all of it has come');
      }
      if (table.command[slot] === Command.blockStatus && table.runs[slot]!.count === 0) {
        return this.#broken('a block status is empty');
      }
    }
    this.#user.replied(slot);
    return true;
  }

  /** Sets `#slot`; false (and the connection is dropped) where no such request is under way on this connection. */
  #find(use: number, slot: number): boolean {
    const table = this.#table;
    const known =
      slot < table.state.length &&
      table.state[slot] === SlotState.sent &&
      table.use[slot] === use &&
      table.connection[slot] === this.#index;
    if (!known) return this.#broken('a reply belongs to no request');
    this.#slot = slot;
    return true;
  }

  #misplaced(): boolean {
    return this.#broken('data lies outside of the request, or comes twice');
  }

  /** Drops the connection. Always returns false. */
  #broken(why: string): boolean {
    this.#user.broken(why);
    return false;
  }
}
