// Every member of the options that open and make images does something, or is refused by name: the schema is walked, and each member has
// its proof.

import { expect } from 'chai';
import { TYPES } from '../../src/schema/generated/table.js';
import type { Members, TypeReference, TypeTable } from '../../src/schema/table.js';
import { FORMATS } from '../formats/index.js';
import { blkdebug } from './effects/blkdebug.js';
import { copyBeforeWrite } from './effects/copy-before-write.js';
import { create } from './effects/create.js';
import { filters } from './effects/filters.js';
import { general } from './effects/general.js';
import { httpEffects } from './effects/http.js';
import type { Effects } from './effects/kit.js';
import { luksEffects } from './effects/luks.js';
import { nbd } from './effects/nbd.js';
import { overlap } from './effects/overlap.js';
import { qcow2Effects } from './effects/qcow2.js';
import { quorumEffects } from './effects/quorum.js';
import { small } from './effects/small.js';
import { sshEffects } from './effects/ssh.js';
import { vvfatEffects } from './effects/vvfat.js';

const EFFECTS: Effects = {
  ...general,
  ...small,
  ...copyBeforeWrite,
  ...blkdebug,
  ...quorumEffects,
  ...filters,
  ...nbd,
  ...luksEffects,
  ...qcow2Effects,
  ...overlap,
  ...create,
  ...vvfatEffects,
  ...httpEffects,
  ...sshEffects,
  ...Object.assign({}, ...FORMATS.map(({ effects }) => effects)),
};

/** `Type.member` of all that can be said in `roots`. */
function membersOf(...roots: string[]): string[] {
  const table: TypeTable = TYPES;
  const found: string[] = [];
  const seen = new Set<string>();
  const walk = (type: TypeReference): void => {
    const name = typeof type === 'string' ? type : type[0];
    const entry = table[name];
    if (entry === undefined || seen.has(name)) return;
    seen.add(name);
    const take = (members: Members): void => {
      for (const [member, { type: its }] of Object.entries(members)) {
        found.push(`${name}.${member}`);
        walk(its);
      }
    };
    if (entry.kind === 'struct' || entry.kind === 'union') take(entry.members);
    if (entry.kind === 'union') Object.values(entry.branches).forEach(walk);
    if (entry.kind === 'alternate') Object.values(entry.choices).forEach(walk);
  };
  roots.forEach(walk);
  return found;
}

describe('members of the options for images', () => {
  it('have a proof each, and no proof is of a member that is gone', () => {
    expect(Object.keys(EFFECTS).sort()).to.deep.equal(membersOf('BlockdevOptions', 'BlockdevCreateOptions').sort());
  });

  for (const [member, [does, proof]] of Object.entries(EFFECTS)) it(`${member} ${does}`, proof);
});
