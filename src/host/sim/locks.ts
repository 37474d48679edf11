// Byte-range locks of one file, with the behaviour of open file description locks: each belongs to one open file; a new lock replaces the holder's older ones
// in its range; shared locks do not conflict with one another; closing the file releases all.

import type { LockKind } from '../host.js';

interface Held {
  holder: object;
  kind: 'shared' | 'exclusive';
  start: number;
  end: number;
}

export class LockTable {
  private held: Held[] = [];

  conflicts(holder: object, kind: 'shared' | 'exclusive', start: number, end: number): boolean {
    return this.held.some(
      (lock) =>
        lock.holder !== holder &&
        lock.start < end &&
        start < lock.end &&
        (kind === 'exclusive' || lock.kind === 'exclusive'),
    );
  }

  set(holder: object, kind: LockKind, start: number, end: number): boolean {
    if (kind !== 'none' && this.conflicts(holder, kind, start, end)) return false;
    const next: Held[] = [];
    for (const lock of this.held) {
      if (lock.holder !== holder || lock.end <= start || end <= lock.start) {
        next.push(lock);
        continue;
      }
      if (lock.start < start) next.push({ ...lock, end: start });
      if (end < lock.end) next.push({ ...lock, start: end });
    }
    if (kind !== 'none') next.push({ holder, kind, start, end });
    this.held = next;
    return true;
  }

  drop(holder: object): void {
    this.held = this.held.filter((lock) => lock.holder !== holder);
  }
}
