// How many commands the scripts have, by subject: of two that are the same to the letter one counts.

import { BITMAP_COMMANDS } from '../../../src/qmp/commands/bitmaps.js';
import { CONTROL_COMMANDS } from '../../../src/qmp/commands/control.js';
import { COPY_COMMANDS } from '../../../src/qmp/commands/copy.js';
import { DEVICE_COMMANDS } from '../../../src/qmp/commands/devices.js';
import { EXPORT_COMMANDS } from '../../../src/qmp/commands/exports.js';
import { GRAPH_COMMANDS } from '../../../src/qmp/commands/graph.js';
import { JOB_COMMANDS } from '../../../src/qmp/commands/jobs.js';
import { OBJECT_COMMANDS } from '../../../src/qmp/commands/objects.js';
import { TRANSACTION_COMMANDS } from '../../../src/qmp/commands/transaction.js';
import type { Step } from './runner.js';

const GROUPS = {
  bitmaps: BITMAP_COMMANDS,
  control: CONTROL_COMMANDS,
  copy: COPY_COMMANDS,
  devices: DEVICE_COMMANDS,
  exports: EXPORT_COMMANDS,
  graph: GRAPH_COMMANDS,
  jobs: JOB_COMMANDS,
  objects: OBJECT_COMMANDS,
  transaction: TRANSACTION_COMMANDS,
};
export type Group = keyof typeof GROUPS | 'others';

/** What the line begins with that a process with DISKWRIGHT_TALLY prints at its end. */
export const TALLY_MARK = 'tally: ';

const seen = new Map<string, Group>();

function groupOf(name: string): Group {
  const found = Object.entries(GROUPS).find(([, commands]) => name in commands);
  return found === undefined ? 'others' : (found[0] as Group);
}

export function count(script: readonly Step[]): void {
  // Files that each script of many has one of its own of are called NAME-1, NAME-2, ...
  const told = (step: Step): string => JSON.stringify(step).replace(/-\d+(?=")/g, '');
  for (const step of script) if ('execute' in step) seen.set(told(step), groupOf(step.execute));
}

/** Of all scripts that were loaded. */
function tally(): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const group of seen.values()) counts[group] = (counts[group] ?? 0) + 1;
  return counts;
}

if (process.env['DISKWRIGHT_TALLY'] === '1') {
  process.once('exit', () => console.log(`${TALLY_MARK}${JSON.stringify(tally())}`));
}
