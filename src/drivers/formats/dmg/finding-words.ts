// The words of what a comparison with the checksums of a dmg image finds; qemu-img has none.

import type { FindingWords } from '../../../block/finding-words.js';

export const DMG_FINDING_WORDS: FindingWords = {
  'dmg-data-fork': ({ reason }) => `ERROR: the data fork: ${reason}`,
  'dmg-table': ({ index, reason }) => `ERROR: the table ${index}: ${reason}`,
  'dmg-no-checksum': ({ reason }) => `ERROR: ${reason}`,
  'dmg-tables': ({ reason }) => `ERROR: the tables: ${reason}`,
};
