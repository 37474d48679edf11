// The change pipeline of a node: what every change of its content passes on its way to the driver.
//
//   dirty bitmaps: record  ->  serialiser: wait  ->  observers: before  ->  driver  ->  observers: after  ->  flush (FUA)  ->  dirty bitmaps again

import type { RangeLock } from '../../util/range-lock.js';
import type { DirtyBitmap } from '../bitmap.js';
import { type ChangeKind, observed, type WriteObserver } from '../observer.js';
import type { Extent, MappingGuard } from '../types.js';
import { NodeInFlight } from './in-flight.js';

export abstract class NodeChanges extends NodeInFlight {
  readonly bitmaps = new Map<string, DirtyBitmap>();
  /** Writes take this lock while a job that copies into this very node needs it (see `jobs/`); null costs nothing. */
  serialiser: RangeLock | null = null;
  protected observers: WriteObserver[] = [];
  /** End of the furthest write so far, bytes. */
  writeEnd = 0;
  /** Writes that end beyond it have something to note: the lower of `writeEnd` and the threshold. */
  protected noteBeyond = 0;
  #writeThreshold = 0;

  addObserver(observer: WriteObserver): void {
    this.observers = [...this.observers, observer];
  }

  removeObserver(observer: WriteObserver): void {
    this.observers = this.observers.filter((other) => other !== observer);
  }

  /** A request that `sent` counted has its answer. */
  answered(write: boolean, offset: number, length: number, guard: MappingGuard | null): void {
    // A bitmap may have been added, or cleaned, meanwhile.
    if (write && this.bitmaps.size > 0) this.recordAgain(offset, length);
    this.givenUp(guard);
  }

  /** A write has to do nothing but what the driver does. */
  protected get takesPlainWrites(): boolean {
    return this.takesPlainWritesBut(false);
  }

  /** The same; `serialised`: of somebody who holds the range in the serialiser. */
  protected takesPlainWritesBut(serialised: boolean): boolean {
    return (
      !this.readOnly &&
      this.bitmaps.size === 0 &&
      this.observers.length === 0 &&
      (serialised || this.serialiser === null) &&
      this.detectZeroes === 'off'
    );
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
