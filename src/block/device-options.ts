// What a device is made with: what limits its requests, counts them, and decides about their errors; and the figures that it keeps.

import type { BlockError } from '../util/errors.js';
import type { Accounting } from './accounting.js';

/** Lets requests in at a rate (a `ThrottleMember` does); undefined means at once. */
export interface Admission {
  admit(isWrite: boolean, bytes: number): Promise<void> | undefined;
  /** Nobody asks any more: those who wait pass at once. */
  close?(): void;
}

/** Decides what becomes of requests that the node failed. */
export interface ErrorPolicy {
  /** `report`: the caller gets the error. `ignore`: the request succeeds. `stop`: it waits as long as `hold` was called and `resume` was not, and is tried again. */
  failed(isRead: boolean, error: BlockError): 'report' | 'ignore' | 'stop';
}

export interface DeviceStats {
  readOperations: number;
  readBytes: number;
  writeOperations: number;
  writeBytes: number;
  flushOperations: number;
  unmapOperations: number;
  unmapBytes: number;
  failedOperations: number;
}

export interface DeviceOptions {
  name: string;
  /** What messages about a request call it. Default: `device 'NAME'`. */
  called?: string;
  /** Conflicts of permissions do not tell its name, which is nobody's to use: an export's own device. Default: they do. */
  unnamed?: boolean;
  /** Write permission is taken on the node. */
  writable: boolean;
  /** What others may do with the node. Default: all but to write and to change the size, where it is writable; else all. */
  shared?: number;
  /** Becomes the device's own: it is closed with it. */
  throttle?: Admission | null;
  /** Counts times and failures, too. Default: nobody does. */
  accounting?: Accounting;
  /** Each write is durable when it is answered. */
  writethrough?: boolean;
  /** Default: errors go to the caller. */
  policy?: ErrorPolicy;
}
