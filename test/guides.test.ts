// The guides: each is a session that prints what its page shows, and the list of them names every one.

import { readdirSync, readFileSync } from 'node:fs';
import { expect } from 'chai';
import { cliBundle, Workshop } from './support/cli.js';
import { examplesOf } from './support/examples.js';
import { runSessions } from './support/sessions.js';

const FOLDER = new URL('../docs/guides/', import.meta.url);
const GUIDES = readdirSync(FOLDER).filter((name) => name !== 'README.md');

describe('docs/guides', () => {
  before(async function () {
    this.timeout(120_000);
    await cliBundle();
  });

  for (const guide of GUIDES) {
    it(`${guide}: shows what is printed`, async function () {
      this.timeout(60_000);
      const sessions = examplesOf(`docs/guides/${guide}`, 'console');
      expect(sessions).to.have.lengthOf.above(2);
      const shop = await Workshop.open();
      try {
        runSessions(shop, sessions);
      } finally {
        shop.remove();
      }
    });
  }

  it('README.md lists each of them', () => {
    const list = readFileSync(new URL('README.md', FOLDER), 'utf8');
    const named = [...list.matchAll(/^- \[.+\]\((.+\.md)\)/gm)].map(([, name]) => name);
    expect(named).to.have.members(GUIDES);
  });
});
