// Every command of the monitor, by its name in the schema. One that is in the schema and not here, or the other way round, does not compile.

import type { CommandTable } from '../command.js';
import { BITMAP_COMMANDS } from './bitmaps.js';
import { CHARDEV_COMMANDS } from './chardevs.js';
import { CONTROL_COMMANDS } from './control.js';
import { COPY_COMMANDS } from './copy.js';
import { DESCRIPTOR_COMMANDS } from './descriptors.js';
import { DEVICE_COMMANDS } from './devices.js';
import { EXPORT_COMMANDS } from './exports.js';
import { FIRST_COMMANDS } from './first-names.js';
import { FORMS_OF_2_1 } from './forms-2-1.js';
import { GRAPH_COMMANDS } from './graph.js';
import { INTERNAL_SNAPSHOT_COMMANDS } from './internal-snapshots.js';
import { JOB_COMMANDS } from './jobs.js';
import { OBJECT_COMMANDS } from './objects.js';
import { QUERY_COMMANDS } from './query.js';
import { TRANSACTION_COMMANDS } from './transaction.js';
import { YANK_COMMANDS } from './yank.js';

export const COMMANDS: CommandTable = {
  ...CONTROL_COMMANDS,
  ...JOB_COMMANDS,
  ...COPY_COMMANDS,
  ...DEVICE_COMMANDS,
  ...GRAPH_COMMANDS,
  ...INTERNAL_SNAPSHOT_COMMANDS,
  ...EXPORT_COMMANDS,
  ...OBJECT_COMMANDS,
  ...CHARDEV_COMMANDS,
  ...DESCRIPTOR_COMMANDS,
  ...BITMAP_COMMANDS,
  ...QUERY_COMMANDS,
  ...TRANSACTION_COMMANDS,
  ...YANK_COMMANDS,
  ...FIRST_COMMANDS,
  ...FORMS_OF_2_1,
};
