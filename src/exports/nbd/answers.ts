// How requests are answered, in each of the three dialects. An answer releases the slot as soon as its memory is not needed any more.
//
//   ok, error      in the outbox's block; the slot is free at once
//   read           [ ... header | data ]   one piece of the slot's buffer
//   held read      [ ... header ]          one piece of the slot's buffer, and pages of the file that the link holds
//   sparse read    header (block)  data (slot)  hole (block)  header (block)  data (slot) ...
//   zeroes         hole (block), the slot is free at once; in the simple dialect as a read

import type { HostFile } from '../../host/host.js';
import { putBe16, putBe32, putBe64 } from '../../util/bytes.js';
import { Chunk, ChunkFlag } from '../../wire/nbd/constants.js';
import { DIALECTS, type Dialect, putChunk, putSimpleReply } from '../../wire/nbd/headers.js';
import type { Runs } from './contexts.js';
import type { Outbox } from './outbox.js';
import { DATA_START, type RequestTable } from './requests.js';
import { MAX_MESSAGE_BYTES } from './wire-error.js';

/** Steps in which what was read is searched for holes: what is shorter is cheaper to send. */
const HOLE_GRANULE = 65536;
const OFFSET_BYTES = 8;
const HOLE_BYTES = 12;

export class Answers {
  /** The client has left: slots are released without an answer. */
  muted = false;
  readonly #table: RequestTable;
  readonly #outbox: Outbox;
  readonly #release: (slot: number) => void;
  readonly #structured: boolean;
  readonly #extended: boolean;
  readonly #headerBytes: number;

  constructor(table: RequestTable, outbox: Outbox, dialect: Dialect, release: (slot: number) => void) {
    this.#table = table;
    this.#outbox = outbox;
    this.#release = release;
    this.#structured = dialect !== 'simple';
    this.#extended = dialect === 'extended';
    this.#headerBytes = DIALECTS[dialect].replyBytes;
  }

  /** Done; there is no data. */
  ok(slot: number): void {
    if (!this.muted) {
      const at = this.#outbox.reserve(this.#headerBytes);
      if (this.#structured) this.#chunk(this.#outbox.block, at, slot, ChunkFlag.done, Chunk.none, 0);
      else putSimpleReply(this.#outbox.block, at, this.#table, slot, 0);
    }
    this.#release(slot);
  }

  /** `error` is one of `NbdError`; the message is sent where the dialect has room for it. */
  error(slot: number, error: number, message: string): void {
    if (this.muted) this.#release(slot);
    else if (this.#structured) this.#errorChunk(slot, error, message);
    else {
      const at = this.#outbox.reserve(this.#headerBytes);
      putSimpleReply(this.#outbox.block, at, this.#table, slot, error);
      this.#release(slot);
    }
  }

  /** The slot's buffer holds what was asked for. */
  read(slot: number): void {
    const length = this.#table.length[slot];
    if (this.muted) {
      this.#release(slot);
      return;
    }
    if (length === 0) {
      this.ok(slot);
      return;
    }
    const buffer = this.#table.buffer[slot] as Uint8Array;
    this.#outbox.pushSlot(slot, buffer, this.#readHeader(slot, buffer, length), DATA_START + length, true);
  }

  /**
   * The same for what lies in `file` from `at` on, and does not pass the slot's buffer (`Link.pushFile`). False where that cannot be: then the request is not
   * answered.
   */
  readHeld(slot: number, file: HostFile, at: number): boolean {
    if (this.muted) return false;
    const length = this.#table.length[slot];
    const buffer = this.#table.buffer[slot] as Uint8Array;
    const start = this.#readHeader(slot, buffer, length);
    return this.#outbox.pushFile(slot, buffer, start, DATA_START, file, at, length);
  }

  /** Writes the header of a read's answer in front of the data in the slot's buffer. Returns where it begins. */
  #readHeader(slot: number, buffer: Uint8Array, length: number): number {
    if (!this.#structured) {
      const at = DATA_START - this.#headerBytes;
      putSimpleReply(buffer, at, this.#table, slot, 0);
      return at;
    }
    const at = DATA_START - this.#headerBytes - OFFSET_BYTES;
    this.#chunk(buffer, at, slot, ChunkFlag.done, Chunk.offsetData, OFFSET_BYTES + length);
    putBe64(buffer, DATA_START - OFFSET_BYTES, this.#table.offset[slot]);
    return at;
  }

  /** The same without the parts that are zero: for reads that took the slow way, where looking for them costs little. */
  sparseRead(slot: number): void {
    const { memory } = this.#table;
    const length = this.#table.length[slot];
    if (this.muted || !this.#structured || length === 0) {
      this.read(slot);
      return;
    }
    const buffer = this.#table.buffer[slot] as Uint8Array;
    const data = buffer.subarray(DATA_START, DATA_START + length);
    const map = new Uint8Array(Math.ceil(length / HOLE_GRANULE));
    memory.zeroMap(data, HOLE_GRANULE, map);
    if (!map.includes(1)) {
      this.read(slot);
      return;
    }
    const lastData = map.lastIndexOf(0);
    for (let from = 0; from < map.length; ) {
      let to = from + 1;
      while (to < map.length && map[to] === map[from]) to++;
      const start = from * HOLE_GRANULE;
      const run = Math.min(length, to * HOLE_GRANULE) - start;
      const flags = to === map.length ? ChunkFlag.done : 0;
      if (map[from] === 1) this.#hole(slot, flags, start, run);
      else this.#data(slot, flags, buffer, start, run, to - 1 === lastData);
      from = to;
    }
    if (lastData < 0) this.#release(slot);
  }

  /** What was asked for is nothing but zeroes. The slot's buffer is filled only where the dialect has no holes. */
  zeroes(slot: number): void {
    const length = this.#table.length[slot];
    if (this.muted) {
      this.#release(slot);
    } else if (this.#structured) {
      this.#hole(slot, ChunkFlag.done, 0, length);
      this.#release(slot);
    } else {
      (this.#table.buffer[slot] as Uint8Array).fill(0, DATA_START, DATA_START + length);
      this.read(slot);
    }
  }

  /** One chunk for each context; `ids` and `runs` belong together. Throws `limit`: then nothing is answered yet. */
  blockStatus(slot: number, ids: readonly number[], runs: readonly Runs[]): void {
    if (this.muted) {
      this.#release(slot);
      return;
    }
    const entryBytes = this.#extended ? 16 : 8;
    const fixedBytes = this.#headerBytes + (this.#extended ? 8 : 4);
    let bytes = 0;
    for (const { count } of runs) bytes += fixedBytes + entryBytes * count;
    this.#table.dropBuffer(slot);
    const buffer = this.#table.allocate(slot, bytes);
    const type = this.#extended ? Chunk.blockStatusExtended : Chunk.blockStatus;
    let at = DATA_START;
    runs.forEach(({ lengths, flags, count }, index) => {
      const last = index === runs.length - 1 ? ChunkFlag.done : 0;
      this.#chunk(buffer, at, slot, last, type, fixedBytes - this.#headerBytes + entryBytes * count);
      at += this.#headerBytes;
      putBe32(buffer, at, ids[index]);
      at += 4;
      if (this.#extended) {
        putBe32(buffer, at, count);
        at += 4;
      }
      for (let i = 0; i < count; i++, at += entryBytes) {
        if (this.#extended) {
          putBe64(buffer, at, lengths[i]);
          putBe64(buffer, at + 8, flags[i]);
        } else {
          putBe32(buffer, at, lengths[i]);
          putBe32(buffer, at + 4, flags[i]);
        }
      }
    });
    this.#outbox.pushSlot(slot, buffer, DATA_START, at, true);
  }

  #chunk(bytes: Uint8Array, at: number, slot: number, flags: number, type: number, length: number): void {
    putChunk(bytes, at, this.#table, slot, this.#extended, flags, type, length);
  }

  #errorChunk(slot: number, error: number, message: string): void {
    const { written, bytes } = encoded(message);
    const at = this.#outbox.reserve(this.#headerBytes + 6 + written);
    const { block } = this.#outbox;
    this.#chunk(block, at, slot, ChunkFlag.done, Chunk.error, 6 + written);
    putBe32(block, at + this.#headerBytes, error);
    putBe16(block, at + this.#headerBytes + 4, written);
    block.set(bytes.subarray(0, written), at + this.#headerBytes + 6);
    this.#release(slot);
  }

  #hole(slot: number, flags: number, start: number, length: number): void {
    const at = this.#outbox.reserve(this.#headerBytes + HOLE_BYTES);
    const { block } = this.#outbox;
    this.#chunk(block, at, slot, flags, Chunk.offsetHole, HOLE_BYTES);
    putBe64(block, at + this.#headerBytes, this.#table.offset[slot] + start);
    putBe32(block, at + this.#headerBytes + OFFSET_BYTES, length);
  }

  #data(slot: number, flags: number, buffer: Uint8Array, start: number, length: number, last: boolean): void {
    const at = this.#outbox.reserve(this.#headerBytes + OFFSET_BYTES);
    const { block } = this.#outbox;
    this.#chunk(block, at, slot, flags, Chunk.offsetData, OFFSET_BYTES + length);
    putBe64(block, at + this.#headerBytes, this.#table.offset[slot] + start);
    this.#outbox.pushSlot(slot, buffer, DATA_START + start, DATA_START + start + length, last);
  }
}

/** As much of the message as is sent, cut between characters. */
function encoded(message: string): { written: number; bytes: Uint8Array } {
  const bytes = new Uint8Array(MAX_MESSAGE_BYTES);
  return { written: new TextEncoder().encodeInto(message, bytes).written, bytes };
}
