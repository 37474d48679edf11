// The words of what a check of a QED image finds. qemu-img counts, and says nothing of each.

import type { FindingWords } from '../../../block/finding-words.js';

export const QED_FINDING_WORDS: FindingWords = {
  'qed-table-invalid': ({ index, entry }) => `ERROR L1 entry ${index} points to no place of an L2 table: ${entry}`,
  'qed-table-shared': ({ index, cluster }) =>
    `ERROR L1 entry ${index}: cluster ${cluster} of its L2 table is used twice`,
  'qed-cluster-invalid': ({ index, entry }) =>
    `ERROR L2 entry of cluster ${index} points to no place of a cluster: ${entry}`,
  'qed-cluster-shared': ({ index, cluster }) => `ERROR L2 entry of cluster ${index}: cluster ${cluster} is used twice`,
  'qed-leak': ({ cluster }) => `Leaked cluster ${cluster}`,
};
