// The manual pages: one a verb, listed in package.json, each with all options, and without a mistake that roff finds.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { writeManPages } from '../../scripts/man.js';
import { formatNames } from '../../src/cli/format-names.js';
import { optionsOf } from '../../src/cli/verb.js';
import { VERBS, verbCalled } from '../../src/cli/verb-table.js';
import { requirePeer } from '../support/peers.js';

describe('manual pages', function () {
  this.timeout(60_000);
  let folder: string;
  let names: string[];
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'diskwright-man-'));
    names = await writeManPages(folder);
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  it('are those that package.json names (npm run man)', () => {
    const manifest = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
    expect(manifest.man).to.deep.equal(names.map((name) => `./dist/man/${name}`));
    expect(names).to.deep.equal(['diskwright.1', ...Object.keys(VERBS).map((name) => `diskwright-${name}.1`)]);
  });

  it('have no mistake that groff finds, and say of each option what its help says', async function () {
    requirePeer(this, 'groff');
    const flat = (text: string) => text.replaceAll(/[\s\u2010-]+/g, '');
    for (const name of Object.keys(VERBS)) {
      const page = join(folder, `diskwright-${name}.1`);
      const { stdout, stderr } = spawnSync('groff', ['-man', '-ww', '-Tascii', '-P-cbou', page], { encoding: 'utf8' });
      expect(stderr, name).to.equal('');
      const text = flat(stdout);
      for (const { short, long, help, refused } of optionsOf(await verbCalled(name))) {
        if (refused) continue;
        for (const word of [
          short && `-${short}`,
          long && `--${long}`,
          typeof help === 'string' ? help : help(formatNames()),
        ]) {
          if (word) expect(text, `${name} ${word}`).to.include(flat(word));
        }
      }
    }
  });
});
