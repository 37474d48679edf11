// Errors as a monitor answers them: the class that QMP has for each code (QAPI's QapiErrorClass), and the text.

import { type BlockError, type BlockErrorCode, toBlockError } from '../util/errors.js';
import { systemWordsOf } from '../util/system-words.js';

export type QmpErrorClass = 'GenericError' | 'CommandNotFound' | 'DeviceNotActive' | 'DeviceNotFound' | 'KVMMissingCap';

/** Classes that the first names (`--compat first-names`) have besides. */
export type FirstErrorClass = 'DeviceInUse' | 'NotSupported' | 'BaseNotFound';

/** Codes that have a class of their own; every other one is `GenericError`. */
const CLASSES: Partial<Record<BlockErrorCode, QmpErrorClass>> = {
  'device-not-found': 'DeviceNotFound',
  'not-active': 'DeviceNotActive',
};

export interface QmpError {
  class: QmpErrorClass | FirstErrorClass;
  desc: string;
  /** What the error is about: errors of the first names have that. */
  data?: object;
}

/** Whatever a command rejected with. A mistake of ours is reported, too (see `toBlockError`). */
export function qmpErrorOf(thrown: unknown): QmpError {
  const error = toBlockError(thrown, { operation: 'qmp' });
  const words = systemWordsOf(error);
  // Lines behind the first are hints for a person at a shell.
  const [desc] = (words === undefined ? error.reason : `${whatFailed(error)}: ${words}`).split('\n', 1);
  return { class: CLASSES[error.code] ?? 'GenericError', desc };
}

/** Why a job failed, as events and queries tell it. Of a failed request of a block job QEMU says what the system said, and not of which file. */
export function jobErrorText(error: BlockError, isBlockJob: boolean): string {
  return (isBlockJob ? systemWordsOf(error) : undefined) ?? qmpErrorOf(error).desc;
}

function whatFailed({ path, operation }: BlockError): string {
  return operation === 'create' ? `Could not create '${path}'` : String(path);
}
