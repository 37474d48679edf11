// One simulated file: the content that readers see now, the content that is certainly on the disk, and the volatile changes between the two (changes.ts).
//
//   durable --(volatile[0], volatile[1], ...)--> current

import type { FileKind } from '../host.js';
import { applyChange, type Change, type CrashStyle, survivorsOf, type Volatile } from './changes.js';
import { LockTable } from './locks.js';
import type { Random } from './random.js';
import { SparseBytes } from './sparse.js';

/** Volatile data beyond this limit is written back, oldest first, as an operating system does. It limits the memory of long runs. */
const WRITEBACK_BYTES = 32 * 1024 * 1024;

export class Inode {
  readonly locks = new LockTable();
  readonly id: string;
  readonly kind: FileKind;
  current: SparseBytes;
  private durable: SparseBytes;
  private volatile: Volatile[] = [];
  private volatileBytes = 0;
  mtimeMs = 0;
  /** What the file system was asked for (`HostFile.avoidCopies`, `setExtentSize`); bytes. */
  hints: { readonly noCow: boolean; readonly extentBytes: number } = { noCow: false, extentBytes: 0 };

  constructor(id: string, kind: FileKind, content: SparseBytes = new SparseBytes()) {
    this.id = id;
    this.kind = kind;
    this.durable = content;
    this.current = content.clone();
  }

  /** Applies a change, which is volatile until a later flush. */
  apply(change: Change, answered: number, escapes = 0): Volatile {
    applyChange(change, this.current);
    const entry: Volatile = { change, answered, escapes };
    this.volatile.push(entry);
    this.volatileBytes += costOf(change);
    if (this.volatileBytes > WRITEBACK_BYTES) this.writeBack();
    return entry;
  }

  /** Applies a change that is durable at once: content that a test writes. */
  applyDurably(change: Change): void {
    applyChange(change, this.current);
    applyChange(change, this.durable);
  }

  /** Makes all changes durable that were answered up to `issued`. */
  flush(issued: number): void {
    const rest: Volatile[] = [];
    for (const entry of this.volatile) {
      if (entry.answered <= issued && entry.escapes-- === 0) this.settle(entry);
      else rest.push(entry);
    }
    this.volatile = rest;
  }

  /** Drops volatile changes after a failed flush, as a kernel may do: it marks dirty pages clean and never writes them. */
  forget(issued: number): void {
    this.volatile = this.volatile.filter((entry) => entry.answered > issued);
  }

  /** The content that is certainly on the disk. */
  durableContent(): SparseBytes {
    return this.durable.clone();
  }

  /** The content after power loss. `inFlight`: changes of requests that have not taken effect yet; they may have reached the disk nevertheless. */
  survivors(inFlight: readonly Change[], style: CrashStyle, random: Random): SparseBytes {
    const content = this.durable.clone();
    const changes = this.volatile.map((entry) => entry.change).concat(inFlight);
    for (const change of changes) {
      for (const part of survivorsOf(change, style, random)) applyChange(part, content);
    }
    return content;
  }

  private settle(entry: Volatile): void {
    applyChange(entry.change, this.durable);
    this.volatileBytes -= costOf(entry.change);
  }

  private writeBack(): void {
    let count = 0;
    while (this.volatileBytes > WRITEBACK_BYTES / 2 && this.volatile[count].answered !== Number.POSITIVE_INFINITY) {
      this.settle(this.volatile[count++]);
    }
    this.volatile.splice(0, count);
  }
}

function costOf(change: Change): number {
  return 128 + (change.kind === 'write' ? change.data.length : 0);
}
