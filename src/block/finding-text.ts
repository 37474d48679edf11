// The text of a check's findings, as qemu-img prints them. Each format has the words for the kinds that it finds (`DriverDefinition.findingWords`).

import type { CheckFinding } from './finding.js';
import { allDrivers } from './registry.js';

/** What most findings begin with, in QEMU's words; those of vhdx do not. */
const BEGINNINGS = /^(ERROR|Leaked)/;

/** The text of a finding, which begins with `Repairing` where it is repaired. A kind that no format has words for is printed as its name and fields. */
export function findingText(finding: CheckFinding): string {
  const text = textOf(finding);
  if (!finding.repairs) return text;
  return BEGINNINGS.test(text) ? text.replace(BEGINNINGS, 'Repairing') : `Repairing: ${text}`;
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
