// The words of what a check of a VHDX image finds: those of the first three are QEMU's.

import type { CheckFinding } from '../../../block/finding.js';
import { decimal, type FindingWords, hex } from '../../../block/finding-words.js';

function endOf({ hostOffset, length = 0 }: CheckFinding): number {
  return Number(hostOffset) + length;
}

export const VHDX_FINDING_WORDS: FindingWords = {
  'vhdx-start-outside': ({ index, hostOffset, entries }) =>
    `VHDX BAT entry ${index} start offset ${decimal(hostOffset)} points after end of file (${entries}). Image has probably been truncated.`,
  'vhdx-end-outside': (finding) =>
    `VHDX BAT entry ${finding.index} end offset ${endOf(finding) - 1} points after end of file (${finding.entries}). Image has probably been truncated.`,
  'vhdx-overlap': (finding) =>
    `VHDX region ${decimal(finding.hostOffset)}-${endOf(finding)} overlaps with region ${finding.reason}`,
  'vhdx-block-shared': ({ index, hostOffset }) =>
    `VHDX BAT entry ${index} points to a place that another one uses, too: ${decimal(hostOffset)}`,
  'vhdx-state': ({ index, entry }) => `VHDX BAT entry ${index} has the state ${hex(entry)}, which is not valid`,
  'vhdx-bitmap': ({ index, entry, hostOffset }) =>
    `Block ${index} of the sector bitmap, of state ${hex(entry)}, has no valid place: ${decimal(hostOffset)}`,
  'vhdx-region-table': ({ index, hostOffset, reason }) =>
    `Region table ${Number(index) + 1}, at ${decimal(hostOffset)}, ${reason === 'other' ? 'says something else than the other one' : 'is broken'}: the other one counts`,
  'vhdx-log': () => 'The log is to be replayed: the image was not closed properly',
};
