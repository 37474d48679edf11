// Small helpers of the simulation's tests.

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
