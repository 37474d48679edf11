// The errors of answers: the system's numbers for errors of the block layer.

import { constants } from 'node:os';
import { reportUnforeseen } from '../../util/best-effort.js';
import { type BlockError, toBlockError } from '../../util/errors.js';

const { errno } = constants;

/** A failure with the system's own number. */
export class Refused extends Error {
  readonly errno: number;
  constructor(name: keyof typeof errno) {
    super(name);
    this.errno = errno[name];
  }
}

/** The number for whatever a request failed with. A mistake of Diskwright's is reported. */
export function numberOf(error: unknown): number {
  if (error instanceof Refused) return error.errno;
  reportUnforeseen('fuse request', error);
  return errnoOf(toBlockError(error));
}

/** The one that the system gave, where it gave one. */
function errnoOf(error: BlockError): number {
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
