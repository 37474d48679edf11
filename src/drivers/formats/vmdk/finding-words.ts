// The words of what a check of a VMDK image finds; the first are qemu-img's.

import { decimal, type FindingWords } from '../../../block/finding-words.js';

export const VMDK_FINDING_WORDS: FindingWords = {
  'vmdk-grain-beyond-end': ({ index }) => `ERROR: cluster offset for sector ${decimal(index)} points after EOF`,
  'vmdk-table-misplaced': ({ index }) =>
    `ERROR: grain table ${decimal(index)} lies outside of the file, or over other metadata`,
  'vmdk-tables-differ': ({ index }) => `ERROR: grain table ${decimal(index)} and its copy differ`,
};
