// The words of what a check of a VDI image finds, as qemu-img prints them.

import type { FindingWords } from '../../../block/finding-words.js';

export const VDI_FINDING_WORDS: FindingWords = {
  'vdi-block-too-large': ({ index, cluster }) => `ERROR: block index ${index} too large, is ${cluster}`,
  'vdi-block-shared': ({ index, cluster }) => `ERROR: block index ${index} also used by ${cluster}`,
  'vdi-count': ({ references, entries }) => `ERROR: allocated blocks mismatch, is ${references}, should be ${entries}`,
};
