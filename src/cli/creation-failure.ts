// The message for an image that could not be created, in qemu-img's words.

import { toBlockError } from '../util/errors.js';
import { wordsOfErrno } from '../util/system-words.js';
import { program, QEMU_IMG, withPrintableNames, writeMessage } from './output.js';
import { reasonOf } from './session.js';

/** qemu-img's message for each failed operation; `%` is the file. */
const CREATION_STEPS: Readonly<Record<string, string>> = {
  open: "Could not create '%'",
  allocate: 'Could not preallocate new data',
  truncate: 'Could not resize file',
};

/** The reason why an image could not be created. */
export function creationFailure(filename: string, format: string, error: unknown): string {
  const failure = toBlockError(error);
  if (failure.errno === 'EFBIG') return `The image size is too large for file format '${format}'`;
  const words = failure.errno === undefined ? undefined : wordsOfErrno(failure.errno);
  const step = CREATION_STEPS[failure.operation ?? ''];
  if (words === undefined || step === undefined) return reasonOf(failure);
  return withPrintableNames(`${step.replace('%', () => filename)}: ${words}`, failure);
}

/** Prints what a failure left of the file that it was about, if anything; qemu-img says nothing of it. */
export function reportLeft(left: string | null): void {
  if (left !== null && program() !== QEMU_IMG) writeMessage(left);
}
