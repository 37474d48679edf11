// A suite of one file of cases.

import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { cliBundle } from '../../support/cli.js';
import { requirePeer } from '../../support/peers.js';
import { DAY, SOAK } from '../../support/sample.js';
import { runCase } from './beside.js';
import { casesOf } from './cases.js';
import { Images } from './images.js';

/** A short run takes one of so many parts of the cases, by the day. */
const PARTS = 3;

/** The headings of docs/differences.md, as a case names them. */
function reasons(): Set<string> {
  const page = readFileSync(new URL('../../../docs/differences.md', import.meta.url), 'utf8');
  return new Set([...page.matchAll(/^### `([\w-]+)`/gm)].map(([, name]) => name));
}

/** Defines the tests of `cases/NAME.txt`. */
export function oracleSuite(name: string): void {
  describe(`beside qemu-img: ${name}`, function () {
    this.timeout(60_000);
    let images: Images;
    let bundle: string;
    const known = reasons();

    before(async function () {
      for (const peer of ['qemu-img', 'qemu-io']) requirePeer(this, peer);
      bundle = await cliBundle();
      images = Images.make();
    });
    after(() => images?.remove());

    for (const one of casesOf(name).filter((_, index) => SOAK || index % PARTS === DAY % PARTS)) {
      const { text, reason } = one;
      it(reason === null ? text : `${text} (differs: ${reason})`, () => {
        const { ours, theirs, faults } = runCase(one, images, bundle);
        if (reason === null) {
          expect(ours).to.deep.equal(theirs);
          expect(faults).to.deep.equal([]);
          return;
        }
        expect([...known], 'headings of docs/differences.md').to.include(reason);
        // Whatever differs, we have come to an end of our own.
        for (const { code } of ours.said) expect([0, 1, 2, 3, 63]).to.include(code);
        expect({ ...ours, faults }, 'there is no difference any more').to.not.deep.equal({ ...theirs, faults: [] });
      });
    }
  });
}
