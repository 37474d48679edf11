// The errors of answers: numbers of the protocol for errors of the block layer.

import type { BlockError } from '../../util/errors.js';
import { NbdError } from '../../wire/nbd/constants.js';

/** Longest message that goes with an error, bytes. */
export const MAX_MESSAGE_BYTES = 512;

/** The number on the wire for an error of the block layer. */
export function wireError(error: BlockError): number {
  switch (error.code) {
    case 'permission':
    case 'read-only':
      return NbdError.perm;
    case 'no-space':
      return NbdError.noSpace;
    case 'limit':
      return NbdError.noMemory;
    case 'closed':
      return NbdError.shutdown;
    case 'invalid-argument':
    case 'out-of-bounds':
    case 'misaligned':
    case 'unsupported':
      return NbdError.invalid;
    default:
      return NbdError.io;
  }
}
