// Errors as a monitor answers them: the class that QMP has for each code (QAPI's QapiErrorClass), and the text.

import { type BlockError, type BlockErrorCode, toBlockError } from '../util/errors.js';
import { wordsOfErrno } from '../util/system-words.js';

export type QmpErrorClass = 'GenericError' | 'CommandNotFound' | 'DeviceNotActive' | 'DeviceNotFound' | 'KVMMissingCap';

/** Codes that have a class of their own; every other one is `GenericError`. */
const CLASSES: Partial<Record<BlockErrorCode, QmpErrorClass>> = {
  'device-not-found': 'DeviceNotFound',
  'not-active': 'DeviceNotActive',
};

export interface QmpError {
  class: QmpErrorClass;
  desc: string;
}

/** Whatever a command rejected with. A mistake of ours is reported, too (see `toBlockError`). */
export function qmpErrorOf(thrown: unknown): QmpError {
  const error = toBlockError(thrown, { operation: 'qmp' });
  const words = error.fromSystem && error.errno !== undefined ? wordsOfErrno(error.errno) : undefined;
  // Lines behind the first are hints for a person at a shell.
  const [desc] = (words === undefined ? error.reason : `${whatFailed(error)}: ${words}`).split('\n', 1);
  return { class: CLASSES[error.code] ?? 'GenericError', desc };
}

function whatFailed({ path, operation }: BlockError): string {
  return operation === 'create' ? `Could not create '${path}'` : String(path);
}
