// What a connection sends: pieces of slots' buffers, and small replies, which are written one after the other into blocks, so that
// many of them go out as one piece.
//
//   reserve(16) reserve(16) pushSlot(7) reserve(16) flush
//        \         /            |           |
//        piece: block[0, 32)  slot 7's    block[32, 48)      -> link.push x 3, link.flush

import type { HostFile, Memory } from '../../host/host.js';
import type { Link } from '../../host/net.js';

/** Bytes of one block: no small reply is longer. */
export const OUTBOX_BLOCK_BYTES = 4096;
/** Blocks that wait to be sent, beyond which nothing more should be begun for this client. */
const BACKLOG_BLOCKS = 16;
const NOTHING = -1;

export class Outbox {
  readonly #link: Link;
  readonly #memory: Memory;
  /** Called with each slot of `pushSlot` when its last piece is sent, or dropped. */
  slotSent: (slot: number) => void = () => {};
  /** For each piece that is not sent: the slot that ends with it, or `NOTHING`. A ring. */
  #ring = new Int32Array(32);
  #head = 0;
  #count = 0;
  /** Pieces pushed, and those of them that were taken out of the ring, since the link was made. */
  #pushed: number;
  #released: number;
  #flushed: number;
  #block: Uint8Array | null = null;
  #used = 0;
  /** [#from, #used) of the block is not pushed yet. */
  #from = 0;
  /** Full blocks, with the piece after which they may go. */
  #full: { block: Uint8Array; after: number }[] = [];

  constructor(link: Link, memory: Memory) {
    this.#link = link;
    this.#memory = memory;
    this.#pushed = link.sentPieces;
    this.#released = link.sentPieces;
    this.#flushed = link.sentPieces;
  }

  /** Nothing waits. */
  get empty(): boolean {
    return this.#count === 0 && this.#from === this.#used;
  }

  /** The client does not take what it asked for. */
  get backlogged(): boolean {
    return this.#full.length >= BACKLOG_BLOCKS;
  }

  /** The block of the last `reserve`. */
  get block(): Uint8Array {
    return this.#block as Uint8Array;
  }

  /** Room for a reply of `bytes` (at most a block) in `block`, from the offset that is returned: to be written at once. Throws `limit`. */
  reserve(bytes: number): number {
    if (this.#block === null || this.#used + bytes > OUTBOX_BLOCK_BYTES) this.#nextBlock();
    const offset = this.#used;
    this.#used += bytes;
    return offset;
  }

  /** Copies `bytes`, however many. */
  write(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      if (this.#block === null || this.#used === OUTBOX_BLOCK_BYTES) this.#nextBlock();
      const part = Math.min(bytes.length - done, OUTBOX_BLOCK_BYTES - this.#used);
      this.block.set(bytes.subarray(done, done + part), this.#used);
      this.#used += part;
      done += part;
    }
  }

  /** Sends [start, end) of a slot's buffer after what was written before; `last`: the slot is not used any more once that is sent. */
  pushSlot(slot: number, buffer: Uint8Array, start: number, end: number, last: boolean): void {
    this.#pushRun();
    this.#push(buffer, start, end, last ? slot : NOTHING);
  }

  /**
   * Sends [start, end) of a slot's buffer, and behind it bytes of a file (`Link.pushFile`); the slot is not used any more once they are sent. False, and
   * nothing is to be sent, where the link does not take them so.
   */
  pushFile(slot: number, head: Uint8Array, start: number, end: number, file: HostFile, offset: number, length: number) {
    this.#pushRun();
    const pieces = this.#link.pushFile(head, start, end, file, offset, length);
    for (let i = 1; i <= pieces; i++) this.#note(i === pieces ? slot : NOTHING);
    return pieces > 0;
  }

  /** Something of the slot waits to be sent; `slotSent` will be called after that. */
  holds(slot: number): boolean {
    for (let i = 0; i < this.#count; i++) {
      if (this.#ring[(this.#head + i) & (this.#ring.length - 1)] === slot) return true;
    }
    return false;
  }

  /** Pushes what waits to the link. */
  flush(): void {
    this.#pushRun();
    if (this.#flushed === this.#pushed) return;
    this.#flushed = this.#pushed;
    if (this.#link.flush()) this.#release(this.#pushed);
    else this.progressed();
  }

  /** More pieces are sent. */
  progressed(): void {
    this.#release(this.#link.sentPieces);
  }

  /** The link is closed: what was not sent is dropped. */
  abandon(): void {
    this.#from = this.#used;
    this.#release(this.#pushed);
  }

  #pushRun(): void {
    if (this.#from === this.#used) return;
    this.#push(this.block, this.#from, this.#used, NOTHING);
    this.#from = this.#used;
  }

  #push(buffer: Uint8Array, start: number, end: number, slot: number): void {
    this.#link.push(buffer, start, end);
    this.#note(slot);
  }

  /** One more piece was pushed. */
  #note(slot: number): void {
    this.#pushed++;
    if (this.#count === this.#ring.length) this.#grow();
    this.#ring[(this.#head + this.#count++) & (this.#ring.length - 1)] = slot;
  }

  #release(sent: number): void {
    for (; this.#released < sent; this.#released++) {
      const slot = this.#ring[this.#head];
      this.#head = (this.#head + 1) & (this.#ring.length - 1);
      this.#count--;
      if (slot !== NOTHING) this.slotSent(slot);
    }
    while (this.#full.length > 0 && this.#full[0].after <= sent) {
      this.#memory.free((this.#full.shift() as { block: Uint8Array }).block);
    }
    if (this.#block === null || this.#count > 0 || this.#from < this.#used) return;
    this.#memory.free(this.#block);
    this.#block = null;
    this.#used = 0;
    this.#from = 0;
  }

  #nextBlock(): void {
    this.#pushRun();
    // Without memory for a block nothing has changed.
    const next = this.#memory.allocate(OUTBOX_BLOCK_BYTES);
    if (this.#block !== null) this.#full.push({ block: this.#block, after: this.#pushed });
    this.#block = next;
    this.#used = 0;
    this.#from = 0;
  }

  #grow(): void {
    const { length } = this.#ring;
    const ring = new Int32Array(2 * length);
    for (let i = 0; i < this.#count; i++) ring[i] = this.#ring[(this.#head + i) & (length - 1)];
    this.#ring = ring;
    this.#head = 0;
  }
}
