// What may have been meant by an unknown word. By the name of one of QEMU's programs, nothing is added to its messages.

import { meantLine } from '../util/nearest.js';
import { PROGRAM, program } from './output.js';

/** The line, or none; for `UsageError.after`. */
export function meant(word: string, known: Iterable<string>): string[] {
  const line = program() === PROGRAM ? meantLine(word, known) : undefined;
  return line === undefined ? [] : [line];
}
