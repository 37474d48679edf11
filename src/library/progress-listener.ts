// A program's `onProgress`: its mistakes are its own, and stop nothing that is being copied.

import { detach } from '../util/best-effort.js';
import { reportUnexpected } from '../util/diagnostics.js';

export type OnProgress = (current: number, total: number, moved?: number) => void;

/** Calls `onProgress`; what it throws or rejects with is reported on the `diskwright:unexpected` channel, or as a warning of node. */
export function progressListener(onProgress: OnProgress): OnProgress {
  return (current, total, ...moved) => {
    try {
      const result: unknown = onProgress(current, total, ...moved);
      if (result instanceof Promise) detach('progress listener', result);
    } catch (error) {
      reportUnexpected('progress listener', error);
    }
  };
}
