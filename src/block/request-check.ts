// What a request of a device may be: its arguments come from programs, and TypeScript is not there at run time. Cheap: once a request.

import { BlockError } from '../util/errors.js';
import { didYouMean } from '../util/nearest.js';

/** Throws `invalid-argument` where `value` is no number of bytes from 0 to 2^53 - 1. */
export function checkBytes(value: number, name: string, operation: string): void {
  if (Number.isSafeInteger(value) && value >= 0) return;
  const shown = typeof value === 'number' ? String(value) : typeof value;
  throw new BlockError(
    'invalid-argument',
    `${operation}: '${name}' is a number of bytes from 0 to 2^53 - 1, not ${shown}`,
    { operation },
  );
}

/**
 * Throws `invalid-argument` where `buffer` is no `Uint8Array` (a `Buffer` is one) over memory of its own: of wider elements, or of a bare
 * `ArrayBuffer`, it is not defined which bytes are meant; shared memory changes under the request; detached memory is gone.
 */
export function checkBuffer(buffer: Uint8Array, operation: string): void {
  if (!(buffer instanceof Uint8Array)) refuseBuffer(kindOf(buffer), operation);
  if (!(buffer.buffer instanceof ArrayBuffer)) refuseBuffer('one over a SharedArrayBuffer', operation);
  if (buffer.length === 0 && isDetached(buffer.buffer as ArrayBuffer)) {
    refuseBuffer('one whose memory is detached', operation);
  }
}

function refuseBuffer(what: string, operation: string): never {
  throw new BlockError('invalid-argument', `${operation}: 'buffer' is a Uint8Array or Buffer, not ${what}`, {
    operation,
  });
}

/**
 * After a request: throws `invalid-argument` where the caller gave the buffer's memory away meanwhile (to another thread), or shrank it: nobody
 * knows then how much of it was moved.
 */
export function checkStillThere(buffer: Uint8Array, length: number, operation: string): void {
  if (buffer.length === length) return;
  throw new BlockError('invalid-argument', `${operation}: the buffer's memory went away during the request`, {
    operation,
  });
}

/** Throws `invalid-argument` for flags that are no object of switches, `unknown-option` for one that nobody knows. */
export function checkFlags(flags: object, known: readonly string[], operation: string): void {
  if (typeof flags !== 'object' || flags === null) {
    throw new BlockError('invalid-argument', `${operation}: the flags are an object, not ${kindOf(flags)}`, {
      operation,
    });
  }
  for (const name in flags) {
    const value = (flags as Record<string, unknown>)[name];
    if (!known.includes(name)) {
      throw new BlockError('unknown-option', `${operation}: flag '${name}' is unexpected${didYouMean(name, known)}`, {
        operation,
      });
    }
    if (value !== undefined && typeof value !== 'boolean') {
      throw new BlockError('invalid-argument', `${operation}: flag '${name}' is true or false, not ${kindOf(value)}`, {
        operation,
      });
    }
  }
}

/** Only an array over it says so in every version of node that this runs on. */
function isDetached(memory: ArrayBuffer): boolean {
  try {
    new Uint8Array(memory);
    return false;
  } catch {
    return true;
  }
}

function kindOf(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  return typeof value === 'object' ? (value.constructor?.name ?? 'an object') : typeof value;
}

const PREALLOCATIONS: readonly string[] = ['off', 'metadata', 'falloc', 'full'];

/** Throws `invalid-argument` where `options` is no object with a `preallocation` at most, `unknown-option` for another member. */
export function checkTruncateOptions(options: object): void {
  const operation = 'resize';
  if (typeof options !== 'object' || options === null) {
    throw new BlockError('invalid-argument', `resize: the options are an object, not ${kindOf(options)}`, {
      operation,
    });
  }
  for (const [name, value] of Object.entries(options)) {
    if (name !== 'preallocation') {
      const meant = didYouMean(name, ['preallocation']);
      throw new BlockError('unknown-option', `resize: option '${name}' is unexpected${meant}`, { operation });
    }
    if (value !== undefined && !PREALLOCATIONS.includes(value as string)) {
      throw new BlockError('invalid-argument', `resize: 'preallocation' is one of ${PREALLOCATIONS.join(', ')}`, {
        operation,
      });
    }
  }
}
