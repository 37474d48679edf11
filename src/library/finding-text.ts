// The words for a finding, for a program that has it from elsewhere, too, and has opened nothing.

import type { CheckFinding } from '../block/finding.js';
import { findingText as textOf } from '../block/finding-text.js';
import { registerDrivers } from '../drivers/index.js';

/** The text of a finding, as qemu-img prints it. A kind that no format has words for is printed as its name and fields. */
export function findingText(finding: CheckFinding): string {
  registerDrivers();
  return textOf(finding);
}
