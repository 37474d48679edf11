// docs/cli.md: what is typed there prints what stands below it, and no verb is missing. The sessions of a section run in one folder.

import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { VERBS } from '../../src/cli/verb-table.js';
import { cliBundle, Workshop } from '../support/cli.js';
import { examplesOf } from '../support/examples.js';
import { runSessions, typedIn } from '../support/sessions.js';

const PAGE = 'docs/cli.md';
const SECTIONS = [...readFileSync(new URL(`../../${PAGE}`, import.meta.url), 'utf8').matchAll(/^## (.+)$/gm)].map(
  ([, title]) => title,
);

describe(PAGE, () => {
  before(async function () {
    this.timeout(120_000);
    await cliBundle();
  });

  for (const section of SECTIONS) {
    it(`shows what is printed: ${section}`, async function () {
      this.timeout(90_000);
      const sessions = examplesOf(PAGE, 'console', section);
      expect(sessions).to.have.lengthOf.above(0);
      const shop = await Workshop.open();
      try {
        runSessions(shop, sessions);
      } finally {
        shop.remove();
      }
    });
  }

  it('shows every verb at work', () => {
    const commands = examplesOf(PAGE, 'console').flatMap(typedIn);
    const shown = commands.flatMap(({ command }) =>
      [...command.matchAll(/\bdiskwright (\w+)/g)].map(([, verb]) => verb),
    );
    expect(new Set(shown)).to.deep.equal(new Set(Object.keys(VERBS)));
  });
});
