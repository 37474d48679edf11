// The change pipeline of a node: what every change of its content passes on its way to the driver.
//
//   stored bitmaps: mark  ->  dirty bitmaps: record  ->  serialiser: wait  ->  observers: before  ->  driver  ->  observers: after  ->  flush (FUA)  ->  dirty bitmaps again
//
// A located write does not pass the driver. Where nothing here is to be waited for, it is watched: its guard does what comes after the driver.

import type { RangeLock } from '../../util/range-lock.js';
import type { DirtyBitmap } from '../bitmap.js';
import { type ChangeKind, observed, tellWritten, type WriteObserver } from '../observer.js';
import type { Extent, Located, MappingGuard } from '../types.js';
import { watchedWrite } from './guards.js';
import { NodeInFlight } from './in-flight.js';

/** What keeps a node's bitmaps in its image: what is stored of them is marked as out of date before a write makes it so. */
export interface BitmapGuard {
  /** `record` of the range must wait for `prepare`: what is stored of a bitmap would look right, and would not be. */
  mustPrepare(offset: number, length: number): boolean;
  /** Marks what is stored. Its caller asks again then: it may have been stored anew meanwhile. Rejects with `no-space`, `io`. */
  prepare(extents: readonly Extent[]): Promise<void>;
}

export abstract class NodeChanges extends NodeInFlight {
  readonly bitmaps = new Map<string, DirtyBitmap>();
  /** Null: none of them is stored. */
  protected bitmapGuard: BitmapGuard | null = null;
  /** Writes take this lock while a job that copies into this very node needs it (see `jobs/`); null costs nothing. */
  serialiser: RangeLock | null = null;
  protected observers: readonly WriteObserver[] = [];
  /** Some of them have something that a write must wait for. */
  #observersWait = false;
  /** End of the furthest write so far, bytes. */
  writeEnd = 0;
  /** Writes that end beyond it have something to note: the lower of `writeEnd` and the threshold. */
  protected noteBeyond = 0;
  #writeThreshold = 0;

  addObserver(observer: WriteObserver): void {
    this.#observe([...this.observers, observer]);
  }

  removeObserver(observer: WriteObserver): void {
    this.#observe(this.observers.filter((other) => other !== observer));
  }

  /** A list that is never changed: writes under way tell those with whom they began. */
  #observe(observers: readonly WriteObserver[]): void {
    this.observers = observers;
    this.#observersWait = observers.some(({ written }) => written === undefined);
  }

  /** A request that `sent` counted has its answer. */
  answered(write: boolean, offset: number, length: number, guard: MappingGuard | null): void {
    // A bitmap may have been added, or cleaned, meanwhile.
    if (write && this.bitmaps.size > 0) this.recordAgain(offset, length);
    this.givenUp(guard);
  }

  /** The driver takes a write as it stands. */
  get #takesWrites(): boolean {
    return !this.readOnly && this.detectZeroes === 'off' && this.compression !== 'needed';
  }

  /** A write has nothing to wait for but what the driver does: what else it has to do, `watch` does. */
  protected get takesLocatedWrites(): boolean {
    return !this.#observersWait && this.serialiser === null && this.#takesWrites;
  }

  /** A located write has more to do. */
  protected get isWatched(): boolean {
    return this.bitmaps.size > 0 || this.observers.length > 0 || this.bitmapGuard !== null;
  }

  /** A write has to do nothing but what the driver does; `serialised`: of somebody who holds the range in the serialiser. */
  protected takesPlainWrites(serialised: boolean): boolean {
    return !this.isWatched && (serialised || this.serialiser === null) && this.#takesWrites;
  }

  /**
   * Does for a write that was located, in `into`, what `change` does for others: bitmaps record it now, and once more when its guard is released, when
   * observers learn of it, too. False where a bitmap cannot take the mark, or not at once: the write is not to be located.
   */
  protected watch(offset: number, length: number, into: Located): boolean {
    if (this.bitmapGuard?.mustPrepare(offset, length)) return false;
    try {
      for (const bitmap of this.bitmaps.values()) bitmap.record(offset, length);
    } catch {
      // The long way comes to the same, and says so.
      return false;
    }
    into.guard = watchedWrite(into.guard, this, this.observers, offset, length);
    return true;
  }

  /** See `watch`. */
  watchedEnded(offset: number, length: number, observers: readonly WriteObserver[]): void {
    this.recordAgain(offset, length);
    tellWritten(observers, offset, length);
  }

  /** The first write that ends beyond this offset is told of; 0: none is. */
  get writeThreshold(): number {
    return this.#writeThreshold;
  }

  set writeThreshold(bytes: number) {
    this.#writeThreshold = bytes;
    this.noteBeyond = bytes === 0 ? this.writeEnd : Math.min(this.writeEnd, bytes);
  }

  protected noteWrite(end: number): void {
    this.writeEnd = Math.max(this.writeEnd, end);
    const threshold = this.#writeThreshold;
    const passed = threshold !== 0 && end > threshold;
    this.writeThreshold = passed ? 0 : threshold;
    if (!passed) return;
    const data = { 'node-name': this.nodeName, 'amount-exceeded': end - threshold, 'write-threshold': threshold };
    this.graph.events.emit('BLOCK_WRITE_THRESHOLD', data);
  }

  /** Null: bitmaps may be marked in these extents, now. Else what the caller has to await before it asks again. */
  protected marksWait(extents: readonly Extent[]): Promise<void> | null {
    const guard = this.bitmapGuard;
    const waits = guard !== null && extents.some(({ offset, length }) => guard.mustPrepare(offset, length));
    return waits ? guard.prepare(extents) : null;
  }

  protected recordAgain(offset: number, length: number): void {
    for (const bitmap of this.bitmaps.values()) bitmap.recordAgain(offset, length);
  }

  /** One change of content: dirty bitmaps, serialisation, observers, the driver. Of nothing, it is nothing. */
  protected async change(
    extents: readonly Extent[],
    kind: ChangeKind,
    data: Uint8Array | null,
    flags: { fua?: boolean; serialised?: boolean },
    action: () => Promise<void>,
  ): Promise<void> {
    const epoch = this.enter();
    try {
      if (extents.every(({ length }) => length === 0)) {
        if (flags.fua) await this.flushNow();
        return;
      }
      const { offset, length } = extents[extents.length - 1];
      if (kind !== 'discard' && offset + length > this.noteBeyond) this.noteWrite(offset + length);
      for (let wait = this.marksWait(extents); wait !== null; wait = this.marksWait(extents)) await wait;
      // A bitmap that cannot take the mark fails the write before it happens.
      for (const bitmap of this.bitmaps.values()) {
        for (const { offset, length } of extents) bitmap.record(offset, length);
      }
      try {
        if (this.serialiser === null || flags.serialised) await observed(this.observers, extents, kind, data, action);
        else {
          const last = extents[extents.length - 1];
          const { offset } = extents[0];
          await this.serialiser.with(offset, last.offset + last.length, () =>
            observed(this.observers, extents, kind, data, action),
          );
        }
        if (flags.fua && !this.handlesFua) await this.flushNow();
      } finally {
        // A job may have cleaned the bitmap meanwhile. Also after a failure: part of it may have reached the disk.
        for (const { offset, length } of extents) this.recordAgain(offset, length);
      }
    } finally {
      this.leave(epoch);
    }
  }
}
