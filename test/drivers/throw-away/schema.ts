// The schema of the throw-away drivers: what `npm run schema` writes for a driver whose definitions are added to `src/schema/`.

import { TYPES } from '../../../src/schema/generated/table.js';

interface Types {
  BlockdevDriver: { values: string[] };
  BlockdevOptions: { branches: Record<string, string> };
  BlockdevCreateOptions: { branches: Record<string, string> };
  [name: string]: unknown;
}

/** Returns what takes it away again: other test files run in the same process. */
export function addSchema(): () => void {
  const types = TYPES as unknown as Types;
  const before = structuredClone([
    types.BlockdevDriver.values,
    types.BlockdevOptions.branches,
    types.BlockdevCreateOptions.branches,
  ] as const);
  for (const name of ['tiny', 'invert', 'tee']) {
    if (types.BlockdevDriver.values.includes(name)) continue;
    types.BlockdevDriver.values.push(name);
    types.BlockdevOptions.branches[name] = 'BlockdevOptionsGenericFormat';
  }
  types.BlockdevOptions.branches['tee'] = 'BlockdevOptionsTee';
  types['BlockdevOptionsTee'] = {
    kind: 'struct',
    members: { file: { type: 'BlockdevRef' }, copy: { type: 'BlockdevRef' } },
  };
  types.BlockdevCreateOptions.branches['tiny'] = 'BlockdevCreateOptionsTiny';
  types['BlockdevCreateOptionsTiny'] = {
    kind: 'struct',
    members: {
      file: { type: 'BlockdevRef' },
      extents: { type: ['BlockdevRef'], optional: true },
      size: { type: 'size' },
      flavour: { type: 'str', optional: true },
      apart: { type: 'bool', optional: true },
      packed: { type: 'bool', optional: true },
    },
  };
  return () => {
    [types.BlockdevDriver.values, types.BlockdevOptions.branches, types.BlockdevCreateOptions.branches] = before;
    delete types['BlockdevCreateOptionsTiny'];
    delete types['BlockdevOptionsTee'];
  };
}
