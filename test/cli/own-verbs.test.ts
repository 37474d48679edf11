// Wrong options, and wrong verbs: the verb's own help is named, and what may have been meant.

import { expect } from 'chai';
import { Workshop } from '../support/cli.js';

// biome-ignore format: a table.
const CASES: readonly (readonly [words: readonly string[], said: string])[] = [
  [['mirror', '--taget=x', 'd'], "unrecognized option '--taget=x'\nDid you mean '--target'?"],
  [['mirror', '--granularty', '64k', 'd'], "unrecognized option '--granularty'\nDid you mean '--granularity'?"],
  [['backup', '--compres', 'd'], "unrecognized option '--compres'\nDid you mean '--compress'?"],
  [['stream', '--bse=x', 'd'], "unrecognized option '--bse=x'\nDid you mean '--base'?"],
  [['stream', '--frobnicate', 'd'], "unrecognized option '--frobnicate'"],
  [['mirror', '-z', 'd'], "unrecognized option '-z'"],
  [['salvage', 'd'], 'Expecting the damaged image and the new one'],
  [['info'], 'Expecting one image file name'],
  [['convert', '--salvag', 'a', 'b'], "unrecognized option '--salvag'\nDid you mean '--salvage'?"],
  [['backup', '--target'], "missing argument for option '--target'"],
];

describe('command line: wrong options and verbs', () => {
  let shop: Workshop;

  before(async () => {
    shop = await Workshop.open();
  });
  after(() => shop.remove());

  for (const [words, said] of CASES) {
    it(words.join(' '), () => {
      const { code, stderr } = shop.ours(...words);
      const help = `Try 'diskwright ${words[0]} --help' for more information\n`;
      expect({ code, stderr }).to.deep.equal({ code: 1, stderr: `diskwright: ${said}\n${help}` });
    });
  }

  it('suggests a verb', () => {
    const said = (verb: string, advice: string) =>
      `diskwright: Command not found: ${verb}\n${advice}Try 'diskwright --help' for more information\n`;
    expect(shop.ours('inf', 'd').stderr).to.equal(said('inf', "Did you mean 'info'?\n"));
    expect(shop.ours('hlep').stderr).to.equal(said('hlep', "Did you mean 'help'?\n"));
    expect(shop.ours('help', 'chekc').stderr).to.equal(said('chekc', "Did you mean 'check'?\n"));
    expect(shop.ours('frobnicate').stderr).to.equal(said('frobnicate', ''));
  });
});
