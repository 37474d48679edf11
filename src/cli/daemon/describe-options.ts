// The options of the daemon's command line as `query-command-line-options` tells of them: from the same definitions by which they are parsed.

import { TYPES } from '../../schema/generated/table.js';
import type { CommandLineOptionInfo, CommandLineParameterInfo } from '../../schema/generated/types.js';
import type { Members, TypeReference, TypeTable } from '../../schema/table.js';
import type { OptionSpec } from '../getopt.js';
import { OPTIONS } from './options.js';

type Kind = CommandLineParameterInfo['type'];

const types: TypeTable = TYPES;

/** Those that are taken, and take parameters. */
export function describeOptions(): CommandLineOptionInfo[] {
  return (OPTIONS as readonly OptionSpec[])
    .filter(({ parameters, refused }) => parameters !== undefined && !refused)
    .map(({ key, parameters }) => ({ option: key, parameters: parameters ? parametersOf(parameters) : [] }));
}

function parametersOf(type: TypeReference): CommandLineParameterInfo[] {
  const found = new Map<string, Kind>();
  describe(type, '', found);
  return [...found].map(([name, kind]) => ({ name, type: kind }));
}

/** Adds what is given by `name`, and by what begins with it. */
function describe(type: TypeReference, name: string, found: Map<string, Kind>): void {
  if (typeof type !== 'string') {
    describe(type[0], `${name}.0`, found);
    return;
  }
  const entry = types[type];
  if (entry === undefined || entry.kind === 'enum') {
    // Branches of a union may have members of the same name.
    if (!found.has(name)) found.set(name, entry === undefined ? kindOf(type) : 'string');
  } else if (entry.kind === 'alternate') {
    for (const choice of Object.values(entry.choices)) describe(choice, name, found);
  } else {
    describeMembers(entry.members, name, found);
    if (entry.kind === 'union') for (const branch of Object.values(entry.branches)) describe(branch, name, found);
  }
}

function describeMembers(members: Members, name: string, found: Map<string, Kind>): void {
  for (const [member, { type }] of Object.entries(members)) {
    describe(type, name === '' ? member : `${name}.${member}`, found);
  }
}

function kindOf(builtIn: string): Kind {
  if (builtIn === 'bool') return 'boolean';
  if (builtIn === 'size') return 'size';
  return /^u?int\d*$|^number$/.test(builtIn) ? 'number' : 'string';
}
