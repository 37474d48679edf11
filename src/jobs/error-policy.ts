// What a failed request of a job leads to (QAPI's BlockdevOnError).

import type { BlockdevOnError, BlockErrorAction } from '../schema/generated/types.js';
import type { BlockError } from '../util/errors.js';

/** `enospc` and `auto` stop where space ran out (somebody can make room) and report everything else. */
export function errorAction(policy: BlockdevOnError, error: BlockError): BlockErrorAction {
  switch (policy) {
    case 'report':
    case 'ignore':
    case 'stop':
      return policy;
    case 'enospc':
    case 'auto':
      return error.code === 'no-space' ? 'stop' : 'report';
  }
}
