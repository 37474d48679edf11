// The end of a job's driver, once the outcome of its transaction is known. Each step is tried, whatever came of those before.
//
//   commit | abort  ->  clean  ->  what follows the job (its target is closed)

import { type BlockError, toBlockError } from '../util/errors.js';
import type { JobDriver } from './driver.js';

/** `failure`: why it is undone; undefined: it is committed. `failed` is called with each error, as it comes. */
export async function endDriver(
  driver: JobDriver,
  failure: BlockError | undefined,
  afterwards: (() => Promise<void>) | undefined,
  failed: (error: BlockError) => void,
): Promise<void> {
  const attempt = async (operation: string, action: () => Promise<void> | undefined): Promise<void> => {
    try {
      await action();
    } catch (error) {
      failed(toBlockError(error, { operation }));
    }
  };
  if (failure === undefined) await attempt('commit', () => driver.commit?.());
  else await attempt('abort', () => driver.abort?.(failure));
  await attempt('clean', () => driver.clean?.());
  await attempt('close', () => afterwards?.());
}
