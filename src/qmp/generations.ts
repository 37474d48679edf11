// Older QMPs (`--compat`): which commands are there, and in which form one was asked for.
//
//   {"execute": "block_stream", ...}                       a name of its own: there with `first-names`
//   {"execute": "blockdev-add", {"options": {...}}}        a form of 2.1: all members that were given are members of that form
//   {"execute": "blockdev-add", {"driver": ...}}           today's: one is not
//
// A form has an entry in the schema, and a function of its own, which hands on to that of today's command.

import { COMMANDS, CONDITIONS, FORMS, TYPES } from '../schema/generated/table.js';
import type { QapiCommands, QapiTypes } from '../schema/generated/types.js';
import type { Generations } from '../schema/introspect.js';
import type { TypeTable } from '../schema/table.js';
import type { CommandName } from './command.js';

export type QmpName = keyof QapiCommands;

/** Which function carries a call out, and the type of its arguments; null: there are none. */
export interface Call {
  form: CommandName;
  type: keyof QapiTypes | null;
}

const types: TypeTable = TYPES;

/** Whether a command of that name may be called. */
export function isCommand(name: string, generations: Generations): name is QmpName {
  return Object.hasOwn(COMMANDS, name) && isThere(name, generations);
}

/** The names of all commands that may be called. */
export function commandNames(generations: Generations): QmpName[] {
  return (Object.keys(COMMANDS) as QmpName[]).filter((name) => isThere(name, generations));
}

/** What carries out a call of `name`: an older form of it where these arguments are of that form. */
export function commandOfCall(name: QmpName, args: unknown, generations: Generations): Call {
  const today: Call = { form: name, type: COMMANDS[name] };
  if (generations.size === 0 || typeof args !== 'object' || args === null) return today;
  const given = Object.keys(args);
  if (given.length === 0) return today;
  for (const [form, type] of Object.entries(FORMS[name] ?? {}) as [CommandName, keyof QapiTypes][]) {
    if (isThere(form, generations) && given.every((member) => hasMember(type, member))) return { form, type };
  }
  return today;
}

function isThere(name: string, generations: Generations): boolean {
  const condition = CONDITIONS[name];
  return condition === undefined || generations.has(condition);
}

function hasMember(type: keyof QapiTypes, member: string): boolean {
  const entry = types[type];
  return entry?.kind === 'struct' && Object.hasOwn(entry.members, member);
}
