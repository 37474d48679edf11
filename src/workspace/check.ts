// Checking the consistency of an image's metadata.

import type { CheckResult } from '../block/abilities.js';
import type { CheckFinding } from '../block/finding.js';
import type { BlockNode } from '../block/node/node.js';
import { BlockError } from '../util/errors.js';

/** Each finding is one call of `report`. Changes nothing. Rejects with `unsupported` where the format has no checks, `io`, `limit`. */
export async function checkImage(node: BlockNode, report: (finding: CheckFinding) => void): Promise<CheckResult> {
  const { check } = node.abilities;
  if (check !== undefined) return check(report);
  throw BlockError.at(node.filename, 'unsupported', 'This image format does not support checks', {
    operation: 'check',
  });
}
