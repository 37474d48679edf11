// Why an image was not made, in qemu-img's words.

import { toBlockError } from '../util/errors.js';
import { wordsOfErrno } from '../util/system-words.js';
import { reasonOf } from './session.js';

/** How qemu-img calls what failed; `%` is the file. */
const CREATION_STEPS: Readonly<Record<string, string>> = {
  open: "Could not create '%'",
  allocate: 'Could not preallocate new data',
  truncate: 'Could not resize file',
};

/** Why an image could not be made: a file that cannot be opened could not be created. */
export function creationFailure(filename: string, format: string, error: unknown): string {
  const failure = toBlockError(error);
  if (failure.errno === 'EFBIG') return `The image size is too large for file format '${format}'`;
  const words = failure.errno === undefined ? undefined : wordsOfErrno(failure.errno);
  const step = CREATION_STEPS[failure.operation ?? ''];
  if (words === undefined || step === undefined) return reasonOf(failure);
  return `${step.replace('%', filename)}: ${words}`;
}
