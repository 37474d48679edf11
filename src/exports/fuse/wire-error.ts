// The errors of answers: the system's numbers for errors of the block layer.

import { constants } from 'node:os';
import type { BlockError } from '../../util/errors.js';

const { errno } = constants;

/** The number for an error of the block layer: the one that the system gave, where it gave one. */
export function errnoOf(error: BlockError): number {
  const known = error.errno === undefined ? undefined : errno[error.errno as keyof typeof errno];
  if (known !== undefined) return known;
  switch (error.code) {
    case 'permission':
      return errno.EPERM;
    case 'read-only':
      return errno.EACCES;
    case 'no-space':
      return errno.ENOSPC;
    case 'limit':
      return errno.ENOMEM;
    case 'invalid-argument':
    case 'misaligned':
      return errno.EINVAL;
    case 'unsupported':
      return errno.EOPNOTSUPP;
    default:
      return errno.EIO;
  }
}
