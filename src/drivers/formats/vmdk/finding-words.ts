// The words of what a check of a VMDK image finds; the first are qemu-img's.

import type { CheckFinding } from '../../../block/finding.js';
import { decimal, type FindingWords } from '../../../block/finding-words.js';
import { printable } from '../../../util/foreign-text.js';

/** Tables are counted in each extent. */
function tableOf({ index, extent }: CheckFinding): string {
  return `grain table ${decimal(index)}${extent === undefined ? '' : ` of the extent '${printable(extent)}'`}`;
}

export const VMDK_FINDING_WORDS: FindingWords = {
  'vmdk-grain-beyond-end': ({ index }) => `ERROR: cluster offset for sector ${decimal(index)} points after EOF`,
  'vmdk-grain-cut': ({ index }) => `ERROR: the compressed grain for sector ${decimal(index)} is not whole`,
  'vmdk-table-misplaced': (finding) => `ERROR: ${tableOf(finding)} lies outside of the file, or over other metadata`,
  'vmdk-tables-differ': (finding) => `ERROR: ${tableOf(finding)} and its copy differ`,
};
