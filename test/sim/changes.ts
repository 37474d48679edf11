// What the tests of changes of a whole image share: snapshots, compact.

import { BlockError } from '../../src/util/errors.js';
import type { SnapshotRun } from './snapshots.js';

/**
 * Closes the image and verifies it. After a flush, or a repair of lost space, that the disk failed, the file admits no later success: what was not durable by
 * then may be lost, as after power loss.
 */
export async function closeOrCrash(run: SnapshotRun): Promise<void> {
  try {
    await run.graph.closeAll();
  } catch (error) {
    const isOfDisk = error instanceof BlockError && (error.code === 'io' || error.code === 'no-space');
    if (!isOfDisk) throw error;
    run.host = run.host.crash({ eager: true });
    run.verifyFile({ lost: true });
    return;
  }
  run.verifyFile({ mayLeak: run.uncertain });
}

/** Runs with the flushes of `prototype` left out that a function of this name, or in this file, asks for itself. */
export function withoutFlush<T extends { flush(): Promise<void> }>(
  prototype: T,
  caller: string,
  action: () => Promise<void>,
): Promise<void> {
  const { flush } = prototype;
  const isCaller = new RegExp(`^.*\\n.*\\n.*${caller}`);
  return planted(
    prototype,
    'flush',
    function (this: T) {
      return isCaller.test(new Error().stack!) ? Promise.resolve() : flush.call(this);
    },
    action,
  );
}

/** Runs with `method` of `prototype` replaced. */
export async function planted<T extends object, K extends keyof T>(
  prototype: T,
  method: K,
  replacement: T[K],
  action: () => Promise<void>,
): Promise<void> {
  const original = prototype[method];
  prototype[method] = replacement;
  try {
    await action();
  } finally {
    prototype[method] = original;
  }
}
