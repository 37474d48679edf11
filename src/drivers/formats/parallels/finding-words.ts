// The words of what a check of a Parallels image finds, as qemu-img prints them.

import type { FindingWords } from '../../../block/finding-words.js';

export const PARALLELS_FINDING_WORDS: FindingWords = {
  'parallels-in-use': () => 'ERROR image was not closed correctly',
  'parallels-outside': ({ index }) => `ERROR cluster ${index} is outside image`,
  'parallels-unused-end': ({ length }) => `ERROR space leaked at the end of the image ${length}`,
};
