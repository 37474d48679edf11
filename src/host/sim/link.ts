// A link of the simulated host: one half of a pair. Bytes are delivered in chunks whose sizes and times the seed chooses; a limited number of bytes is on the
// way at the same time.
//
//   push, pushFile, flush --copied, while there is room--> other.inbox --later, in random chunks--> window, received(n)
import { BlockError } from '../../util/errors.js';
import type { Link, LinkOwner, SentFile } from '../net.js';
import { SimFile } from './file.js';
import type { Random } from './random.js';

/** Limit of the bytes that are on the way in one direction. */
const ROOM_BYTES = 64 * 1024;
/** Bytes, or what returns them when they are sent. */
type Piece = Uint8Array | (() => Uint8Array);
const NO_OWNER: LinkOwner = { received: () => {}, progressed: () => {}, closed: () => {} };

/** The part of the net that its links use. */
export interface Wire {
  /** Runs `step` soon, after the present call stack. */
  later(step: () => void): void;
  /** Null: nothing is random. */
  random: Random | null;
  open: Set<SimLink>;
}

export class SimLink implements Link {
  owner = NO_OWNER;
  readonly peer: string;
  readonly tls = null;
  sentPieces = 0;
  unsentBytes = 0;
  other: SimLink | null = null;
  private readonly wire: Wire;
  private target: Uint8Array = new Uint8Array(0);
  private start = 0;
  private end = 0;
  /** Pieces before `flush`, and pieces that were flushed and not sent yet. */
  private pushed: Piece[] = [];
  private queue: Piece[] = [];
  private inbox: Uint8Array[] = [];
  private inboxBytes = 0;
  private scheduled = false;
  private progress = false;
  private ended = false;
  private error: BlockError | null = null;
  private silent = false;

  constructor(wire: Wire, peer: string) {
    this.wire = wire;
    this.peer = peer;
    wire.open.add(this);
  }

  /** There are none in the simulation. */
  takeDescriptors(): void {}

  window(buffer: Uint8Array, start: number, end: number): void {
    this.target = buffer;
    this.start = start;
    this.end = end;
    if (end > start) this.schedule();
  }

  /** Bytes are passed on as they come. */
  get gatheredBytes(): number {
    return 0;
  }

  push(buffer: Uint8Array, start: number, end: number): void {
    this.pushed.push(buffer.subarray(start, end));
    this.unsentBytes += end - start;
  }

  /**
   * By the seed, the other side receives the file's bytes as they are now, or as they are when they are sent. Not everything is in memory; and what would
   * fail to be read is not.
   */
  pushFile(head: Uint8Array, start: number, end: number, file: SentFile, offset: number, length: number): number {
    if (!(file instanceof SimFile)) return 0;
    const held = file.hold(offset, length);
    if (held === null) return 0;
    this.push(head, start, end);
    this.pushed.push(held);
    this.unsentBytes += length;
    return 2;
  }

  flush(): boolean {
    this.queue.push(...this.pushed);
    this.pushed = [];
    this.send();
    return this.queue.length === 0;
  }

  async startTls(): Promise<Link> {
    throw BlockError.at(this.peer, 'unsupported', 'the simulated host has no TLS', { operation: 'tls' });
  }

  async close(graceful = false): Promise<void> {
    this.silent = true;
    if (graceful) {
      this.queue.push(...this.pushed);
      // The limit is ignored: everything is sent now.
      this.send(Number.POSITIVE_INFINITY);
    }
    this.leave();
    this.other?.hangUp(null);
    this.other = null;
  }

  /** Cuts the link: both sides get an error. */
  cut(): void {
    const error = BlockError.at(this.peer, 'io', 'Connection reset by peer', {
      operation: 'socket',
      errno: 'ECONNRESET',
    });
    this.inbox = [];
    this.hangUp(error);
  }

  private hangUp(error: BlockError | null): void {
    this.ended = true;
    this.error = error;
    this.schedule();
  }

  private send(room = ROOM_BYTES): void {
    const { other } = this;
    while (other !== null && this.queue.length > 0 && other.inboxBytes < room) {
      const [first] = this.queue;
      const piece = typeof first === 'function' ? first() : first;
      const count = Math.min(piece.length, room - other.inboxBytes);
      other.inbox.push(piece.slice(0, count));
      other.inboxBytes += count;
      this.unsentBytes -= count;
      if (count === piece.length) {
        this.queue.shift();
        this.sentPieces++;
        this.progress = true;
      } else {
        this.queue[0] = piece.subarray(count);
      }
      other.schedule();
    }
  }

  private schedule(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    this.wire.later(() => {
      this.scheduled = false;
      this.step();
    });
  }

  /** Sends if there is room again, then delivers one chunk, or the end. */
  private step(): void {
    if (this.silent) return;
    if (this.queue.length > 0) {
      this.progress = false;
      this.send();
      if (this.progress) this.owner.progressed();
    }
    if (this.inbox.length > 0 && this.start < this.end) this.receive();
    else if (this.inbox.length === 0 && this.ended) this.finish();
  }

  private receive(): void {
    const [chunk] = this.inbox;
    let count = Math.min(chunk.length, this.end - this.start);
    if (count > 1 && this.wire.random?.chance(0.25)) count = 1 + this.wire.random.below(count);
    this.target.set(chunk.subarray(0, count), this.start);
    this.start = this.end;
    if (count === chunk.length) this.inbox.shift();
    else this.inbox[0] = chunk.subarray(count);
    this.inboxBytes -= count;
    this.other?.schedule();
    this.owner.received(count);
    if (!this.silent) this.schedule();
  }

  private finish(): void {
    this.silent = true;
    this.leave();
    this.owner.closed(this.error);
  }

  private leave(): void {
    this.wire.open.delete(this);
    this.pushed = [];
    this.queue = [];
    this.unsentBytes = 0;
  }
}
