// Observers of the changes of a node: they are called before a change reaches the driver, and after it.
//
//   beforeWrite of each -> the driver -> afterWrite of each        (or writeFailed of those that were asked)
//                                        written of each           (whether the driver failed or not)
//
// One that has nothing to be waited for has `written` alone: a located write, which passes no driver, can tell it, too.

import type { Extent } from './types.js';

/** What is done to the content. */
export type ChangeKind = 'write' | 'zero' | 'discard';

/** Sees every change of a node's content: copy before write, write-blocking mirror. Extents are ascending and disjoint. */
export interface WriteObserver {
  /** Runs before the driver; a rejection fails the request. */
  beforeWrite?(extents: readonly Extent[]): Promise<void> | undefined;
  /**
   * Runs after a write that succeeded, before it is answered. The extents' data lies back to back in `data`, which is null for zeroes
   * and discards.
   */
  afterWrite?(extents: readonly Extent[], kind: ChangeKind, data: Uint8Array | null): Promise<void> | undefined;
  /**
   * Runs instead of `afterWrite` where the write failed (part of it may have reached the disk) or never began. For every
   * `beforeWrite` that resolved, exactly one of the two runs.
   */
  writeFailed?(extents: readonly Extent[]): void;
  /**
   * Runs once for each extent after the write, failed or not, before it is answered; never fails. An observer that has it has none of the others, and does
   * not keep writes from being located: then it may also run for one that never began.
   */
  written?(offset: number, length: number): void;
}

/** Tells those that have `written` of a write that has ended. */
export function tellWritten(observers: readonly WriteObserver[], offset: number, length: number): void {
  for (const observer of observers) observer.written?.(offset, length);
}

/** Does `action` with all observers told. Rejects as it does, or as the first observer that does. */
export async function observed(
  observers: readonly WriteObserver[],
  extents: readonly Extent[],
  kind: ChangeKind,
  data: Uint8Array | null,
  action: () => Promise<void>,
): Promise<void> {
  if (observers.length === 0) return action();
  try {
    await observedByThoseWhoWait(observers, extents, kind, data, action);
  } finally {
    for (const { offset, length } of extents) tellWritten(observers, offset, length);
  }
}

async function observedByThoseWhoWait(
  observers: readonly WriteObserver[],
  extents: readonly Extent[],
  kind: ChangeKind,
  data: Uint8Array | null,
  action: () => Promise<void>,
): Promise<void> {
  let prepared = 0;
  try {
    for (; prepared < observers.length; prepared++) await observers[prepared].beforeWrite?.(extents);
    await action();
  } catch (error) {
    for (const observer of observers.slice(0, prepared)) observer.writeFailed?.(extents);
    throw error;
  }
  // All are called, and the first of their errors fails the request.
  let failure: { error: unknown } | null = null;
  for (const observer of observers) {
    try {
      await observer.afterWrite?.(extents, kind, data);
    } catch (error) {
      failure ??= { error };
    }
  }
  if (failure !== null) throw failure.error;
}
