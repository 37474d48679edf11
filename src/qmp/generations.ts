// Older QMPs (`--compat`): which commands are there, and in which form one was asked for.
//
//   {"execute": "block_stream", ...}                       a name of its own: there with `first-names`
//   {"execute": "blockdev-add", {"options": {...}}}        a form of 2.1: all members that were given are members of that form
//   {"execute": "blockdev-add", {"driver": ...}}           today's: one is not
//
// A form is a command of the schema, with a function of its own, which hands on to that of today's.

import { COMMANDS, CONDITIONS, FORMS, TYPES } from '../schema/generated/table.js';
import type { Generations } from '../schema/introspect.js';
import type { TypeTable } from '../schema/table.js';
import type { CommandName } from './command.js';

const types: TypeTable = TYPES;
/** Names of forms in the schema: nobody calls them by these. */
const FORM_NAMES: ReadonlySet<string> = new Set(Object.values(FORMS).flat());

/** Whether a command of that name may be called. */
export function isCommand(name: string, generations: Generations): name is CommandName {
  return Object.hasOwn(COMMANDS, name) && !FORM_NAMES.has(name) && isThere(name, generations);
}

/** The names of all commands that may be called. */
export function commandNames(generations: Generations): CommandName[] {
  return (Object.keys(COMMANDS) as CommandName[]).filter((name) => isCommand(name, generations));
}

/** The command that carries out a call of `name`: an older form of it where these arguments are of that form. */
export function commandOfCall(name: CommandName, args: unknown, generations: Generations): CommandName {
  if (generations.size === 0 || typeof args !== 'object' || args === null) return name;
  const given = Object.keys(args);
  const fits = (form: CommandName): boolean =>
    isThere(form, generations) && given.length > 0 && given.every((member) => hasMember(form, member));
  return FORMS[name]?.find(fits) ?? name;
}

function isThere(name: string, generations: Generations): boolean {
  const condition = CONDITIONS[name];
  return condition === undefined || generations.has(condition);
}

function hasMember(command: CommandName, member: string): boolean {
  const entry = types[COMMANDS[command] ?? ''];
  return entry?.kind === 'struct' && Object.hasOwn(entry.members, member);
}
