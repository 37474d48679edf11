// The monitor itself: versions, the list of commands, the schema, the end.

import { visibleSchema } from '../../schema/introspect.js';
import { BlockError } from '../../util/errors.js';
import type { CommandTable } from '../command.js';
import { commandNames } from '../generations.js';
import { versionInfo } from '../version.js';

export const CONTROL_COMMANDS = {
  // The session has it: it is about one client, and taken once.
  qmp_capabilities: () => undefined,

  'query-version': (context) => versionInfo(context),

  'query-commands': ({ generations }) => commandNames(generations).map((name) => ({ name })),

  // Loaded when it is asked for: it is large, and few ask.
  'query-qmp-schema': async ({ generations }) =>
    visibleSchema((await import('../../schema/generated/introspection.js')).SCHEMA, generations),

  'query-command-line-options'(context, { option }) {
    const all = context.commandLine();
    if (option === undefined) return all;
    const found = all.filter((one) => one.option === option);
    if (found.length === 0) throw new BlockError('invalid-argument', `invalid option name: ${option}`);
    return found;
  },

  quit: (context) => context.quit(),
} satisfies Partial<CommandTable>;
