// Guards of a request that was located through several nodes (an image within an image): one that releases them all. A request has room
// for one guard; a second one makes a pair, and a pair may hold pairs. A write that a node watches on its way has one that tells the node of its end. They are
// used again, so that nothing is allocated in the long run.

import type { WriteObserver } from '../observer.js';
import type { MappingGuard } from '../types.js';

class GuardPair implements MappingGuard {
  lower: MappingGuard | null = null;
  upper: MappingGuard | null = null;

  release(): void {
    const { lower, upper } = this;
    this.lower = null;
    this.upper = null;
    free.push(this);
    lower?.release();
    upper?.release();
  }
}

const free: GuardPair[] = [];

/** `upper`, with what a node below has guarded already. To be released once, as any guard. */
export function withLowerGuard(lower: MappingGuard | null, upper: MappingGuard): MappingGuard {
  if (lower === null) return upper;
  const pair = free.pop() ?? new GuardPair();
  pair.lower = lower;
  pair.upper = upper;
  return pair;
}

/** What a write is told to when it has ended. */
export interface Watcher {
  watchedEnded(offset: number, length: number, observers: readonly WriteObserver[]): void;
}

class WatchedWrite implements MappingGuard {
  lower: MappingGuard | null = null;
  watcher: Watcher | null = null;
  observers: readonly WriteObserver[] = [];
  offset = 0;
  length = 0;

  release(): void {
    const { lower, watcher, observers, offset, length } = this;
    this.lower = null;
    this.watcher = null;
    this.observers = [];
    freeWatched.push(this);
    try {
      watcher?.watchedEnded(offset, length, observers);
    } finally {
      lower?.release();
    }
  }
}

const freeWatched: WatchedWrite[] = [];

/** A guard for a write of [offset, offset + length), with what a node below has guarded already: its release tells `watcher`. */
export function watchedWrite(
  lower: MappingGuard | null,
  watcher: Watcher,
  observers: readonly WriteObserver[],
  offset: number,
  length: number,
): MappingGuard {
  const watched = freeWatched.pop() ?? new WatchedWrite();
  watched.lower = lower;
  watched.watcher = watcher;
  watched.observers = observers;
  watched.offset = offset;
  watched.length = length;
  return watched;
}
