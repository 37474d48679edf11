// What a failed request of a job leads to (QAPI's BlockdevOnError), and what is known of requests that failed.

import type { BlockDeviceIoStatus, BlockdevOnError, BlockErrorAction } from '../schema/generated/types.js';
import type { BlockError } from '../util/errors.js';

/** A failed request of a job. */
export interface JobFault {
  /** Names the file, and where in it. */
  error: BlockError;
  isRead: boolean;
  /** Where it is for a guest, bytes; undefined where that is no one place. */
  guestOffset: number | undefined;
  action: BlockErrorAction;
}

export interface ErrorPolicies {
  /** What a failed read, a failed write leads to. Default: `report`. */
  onSourceError?: BlockdevOnError;
  onTargetError?: BlockdevOnError;
}

export class ErrorPolicy {
  readonly #policies: ErrorPolicies;
  readonly #listeners = new Set<(fault: JobFault) => void>();
  #ioStatus: BlockDeviceIoStatus = 'ok';

  constructor(policies: ErrorPolicies) {
    this.#policies = policies;
  }

  /** What the last failed request left behind that stopped the job. */
  get ioStatus(): BlockDeviceIoStatus {
    return this.#ioStatus;
  }

  actionOf(error: BlockError, isRead: boolean): BlockErrorAction {
    const { onSourceError = 'report', onTargetError = 'report' } = this.#policies;
    return errorAction(isRead ? onSourceError : onTargetError, error);
  }

  /** Tells the listeners, and keeps what stopped the job. */
  happened(fault: JobFault): void {
    for (const listener of this.#listeners) listener(fault);
    if (fault.action === 'stop') this.#ioStatus = fault.error.code === 'no-space' ? 'nospace' : 'failed';
  }

  /** A user resumed the job: what failed is tried again. */
  forget(): void {
    this.#ioStatus = 'ok';
  }

  /** The listener must not throw. The result ends the listening. */
  onFault(listener: (fault: JobFault) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }
}

/** `enospc` and `auto` stop where space ran out (somebody can make room) and report everything else. */
function errorAction(policy: BlockdevOnError, error: BlockError): BlockErrorAction {
  switch (policy) {
    case 'report':
    case 'ignore':
    case 'stop':
      return policy;
    case 'enospc':
    case 'auto':
      return error.code === 'no-space' ? 'stop' : 'report';
  }
}
