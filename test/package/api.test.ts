// docs/api.md is what the declarations say, nothing of the house's inside is in it, and every public call has an example that is run.

import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { API_PAGE, apiPage } from '../../scripts/api.js';
import * as library from '../../src/index.js';
import { examplesOf } from '../support/examples.js';

/** The members that a program calls. */
function callsOf(type: { prototype: object }): string[] {
  return Object.entries(Object.getOwnPropertyDescriptors(type.prototype))
    .filter(([name, { value }]) => typeof value === 'function' && name !== 'constructor')
    .map(([name]) => name);
}

describe('the reference of the library', function () {
  this.timeout(120_000);
  const examples = ['README.md', 'docs/library.md'].flatMap((page) => examplesOf(page, 'js')).join('\n');

  it('is what the declarations say (npm run api)', () => {
    expect(apiPage()).to.equal(readFileSync(API_PAGE, 'utf8'));
  });

  it('has nothing of the inside: no node, no machinery of requests, nothing inherited', () => {
    const page = readFileSync(API_PAGE, 'utf8');
    for (const inner of [
      'BlockNode',
      'beginRead',
      'beginWrite',
      'givenUp',
      'drainBegin',
      'inspectDevice',
      'abdicate',
      'MappingGuard',
    ]) {
      expect(page).to.not.contain(inner);
    }
    expect(page.match(/^(abstract )?class \w+ extends \w+/gm) ?? []).to.deep.equal(['class BlockError extends Error']);
  });

  for (const [name, value] of Object.entries(library)) {
    if (typeof value !== 'function' || /^[A-Z]/.test(name)) continue;
    it(`shows ${name} in an example`, () => {
      expect(examples).to.match(new RegExp(`\\b${name}\\(`));
    });
  }

  for (const type of [library.Bitmap, library.Image, library.Job, library.NbdService, library.Workspace]) {
    it(`shows every call of ${type.name} in an example`, () => {
      expect(callsOf(type).filter((name) => !new RegExp(`\\.${name}\\(`).test(examples))).to.deep.equal([]);
    });
  }
});
