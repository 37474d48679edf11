// Wrong options of the verbs that qemu-img does not have: the verb's own help is named, and what may have been meant.

import { expect } from 'chai';
import { Workshop } from '../support/cli.js';

// biome-ignore format: a table.
const CASES: readonly (readonly [words: readonly string[], said: string])[] = [
  [['mirror', '--taget=x', 'd'], "unrecognized option '--taget=x' (did you mean '--target'?)"],
  [['mirror', '--granularty', '64k', 'd'], "unrecognized option '--granularty' (did you mean '--granularity'?)"],
  [['backup', '--compres', 'd'], "unrecognized option '--compres' (did you mean '--compress'?)"],
  [['stream', '--bse=x', 'd'], "unrecognized option '--bse=x' (did you mean '--base'?)"],
  [['stream', '--frobnicate', 'd'], "unrecognized option '--frobnicate'"],
  [['mirror', '-z', 'd'], "unrecognized option '-z'"],
  [['backup', '--target'], "missing argument for option '--target'"],
];

describe('command line: wrong options of our own verbs', () => {
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

  it("leaves qemu-img's words to qemu-img's verbs", () => {
    const { stderr } = shop.ours('convert', '--salvag', 'a', 'b');
    expect(stderr).to.equal(
      "diskwright: unrecognized option '--salvag'\nTry 'diskwright --help' for more information\n",
    );
  });
});
