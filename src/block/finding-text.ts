// The text of a check's findings, as qemu-img prints them. Each format has the words for the kinds that it finds (`DriverDefinition.findingWords`).

import type { CheckFinding } from './finding.js';
import { allDrivers } from './registry.js';

/** The text of a finding. A kind that no format has words for is printed as its name and fields. */
export function findingText(finding: CheckFinding): string {
  const text = textOf(finding);
  return finding.repairs ? text.replace(/^(ERROR|Leaked)/, 'Repairing') : text;
}

function textOf(finding: CheckFinding): string {
  const { kind, severity, repairs: _, ...fields } = finding;
  for (const { findingWords } of allDrivers()) {
    const words = findingWords?.[kind];
    if (words !== undefined) return words(finding);
  }
  const members = Object.entries(fields).map(([name, value]) => `${name}=${value}`);
  return [severity === 'leak' ? 'Leaked' : 'ERROR', kind, ...members].join(' ');
}
