// Checks requests against what the protocol demands of commands, flags and ranges.

import { Command, CommandFlag, NbdError } from '../../wire/nbd/constants.js';
import { BLOCK_SIZES } from './export.js';

/** What the client knows of its export, and has agreed on. */
export interface Terms {
  readonly size: number;
  readonly readOnly: boolean;
  readonly resizable: boolean;
  readonly structured: boolean;
  readonly extended: boolean;
  /** Contexts were chosen. */
  readonly contexts: number;
}

export const NO_ERROR = 0;

/** Flags that a command may have, apart from FUA, which is always allowed; -1: unknown command. */
function flagsOf(command: number, terms: Terms): number {
  const { noHole, fastZero, df, reqOne, payloadLength } = CommandFlag;
  switch (command) {
    case Command.read:
      return terms.structured ? df : 0;
    case Command.write:
      return terms.extended ? payloadLength : 0;
    case Command.writeZeroes:
      return noHole | fastZero;
    case Command.blockStatus:
      return terms.extended ? reqOne | payloadLength : reqOne;
    case Command.flush:
    case Command.trim:
    case Command.cache:
      return 0;
    case Command.resize:
      return terms.resizable ? 0 : -1;
    default:
      return -1;
  }
}

/** `NO_ERROR`, or the error (`NbdError`) to answer with. `length` is that of the payload where the request has one. */
export function checkRequest(command: number, flags: number, offset: number, length: number, terms: Terms): number {
  const allowed = flagsOf(command, terms);
  if (allowed < 0 || (flags & ~(allowed | CommandFlag.fua)) !== 0) return NbdError.invalid;
  const changes =
    command === Command.write ||
    command === Command.trim ||
    command === Command.writeZeroes ||
    command === Command.resize;
  if (changes && terms.readOnly) return NbdError.perm;
  switch (command) {
    case Command.read:
    case Command.cache:
      if (length > BLOCK_SIZES.maximum) return NbdError.invalid;
      return inside(offset, length, terms.size) ? NO_ERROR : NbdError.invalid;
    case Command.write:
      // The flag alone says whether there is data behind a header.
      if (terms.extended && (flags & CommandFlag.payloadLength) === 0) return NbdError.invalid;
      if (length > BLOCK_SIZES.maximum) return NbdError.invalid;
      return inside(offset, length, terms.size) ? NO_ERROR : NbdError.noSpace;
    case Command.writeZeroes:
      return inside(offset, length, terms.size) ? NO_ERROR : NbdError.noSpace;
    case Command.trim:
      return inside(offset, length, terms.size) ? NO_ERROR : NbdError.invalid;
    case Command.blockStatus:
      if (!terms.structured || terms.contexts === 0) return NbdError.invalid;
      if ((flags & CommandFlag.payloadLength) !== 0) {
        // length64, and identifiers of contexts: no more than there are.
        return length >= 8 && length % 4 === 0 && length <= 8 + 4 * terms.contexts ? NO_ERROR : NbdError.invalid;
      }
      return length > 0 && inside(offset, length, terms.size) ? NO_ERROR : NbdError.invalid;
    case Command.flush:
      return offset === 0 && length === 0 ? NO_ERROR : NbdError.invalid;
    case Command.resize:
      return length === 0 && Number.isSafeInteger(offset) ? NO_ERROR : NbdError.invalid;
    default:
      return NbdError.invalid;
  }
}

export function inside(offset: number, length: number, size: number): boolean {
  return offset <= size && length <= size - offset;
}

/** The message that goes with the error. */
export function reasonOf(error: number): string {
  if (error === NbdError.perm) return 'the export is read-only';
  if (error === NbdError.noSpace) return 'the request reaches beyond the end of the export';
  return 'invalid command, flags or range';
}
