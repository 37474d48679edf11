// Objects that others name by their id: secrets, credentials, lists of who may come in.

import type { CommandTable } from '../command.js';

export const OBJECT_COMMANDS = {
  'object-add': ({ graph }, options) => graph.objects.add(options),
  'object-del': ({ graph }, { id }) => graph.objects.remove(id),
} satisfies Partial<CommandTable>;
