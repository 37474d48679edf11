// Small helpers of the simulation's tests.

import { SimPowerLoss } from '../../src/host/sim/index.js';
import { BlockError } from '../../src/util/errors.js';

/** The code that a promise is rejected with; `resolved` where it is not. Anything but a BlockError is thrown on. */
export async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof BlockError) return error.code;
    throw error;
  }
  return 'resolved';
}

export function bytes(length: number, value: number): Uint8Array {
  return new Uint8Array(length).fill(value);
}

/** True when a run ended with power loss. */
export async function lost(run: Promise<unknown>): Promise<boolean> {
  try {
    await run;
  } catch (error) {
    if (error instanceof SimPowerLoss) return true;
    throw error;
  }
  return false;
}
