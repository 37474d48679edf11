// A suite of one file of cases. Where a case differs on purpose, what we print is kept in `differs/NAME.json`; DISKWRIGHT_RECORD=1 writes it anew.

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { asOurs, cliBundle, run } from '../../support/cli.js';
import { requirePeer } from '../../support/peers.js';
import { DAY, SOAK } from '../../support/sample.js';
import { type Program, runCase } from './beside.js';
import { casesOf } from './cases.js';
import { headings } from './headings.js';
import { Images } from './images.js';

/** A short run takes one of so many parts of the cases, by the day. */
const PARTS = 5;
/** Keeps what we print where we differ on purpose, in place of comparing it: with DISKWRIGHT_SOAK=1, so that all cases run. */
const RECORDS = process.env['DISKWRIGHT_RECORD'] === '1';

/** Defines the tests of `cases/NAME.txt`. */
export function oracleSuite(name: string): void {
  describe(`beside qemu-img: ${name}`, function () {
    this.timeout(60_000);
    let images: Images;
    let bundle: string;
    const ours: Program = (words, folder) => run(process.execPath, [bundle, ...words], folder);
    const theirs: Program = (words, folder) => asOurs(run('qemu-img', words, folder));
    const known = headings();
    const file = new URL(`differs/${name}.json`, import.meta.url);
    const kept: Record<string, unknown> = existsSync(file) && !RECORDS ? JSON.parse(readFileSync(file, 'utf8')) : {};

    before(async function () {
      for (const peer of ['qemu-img', 'qemu-io']) requirePeer(this, peer);
      bundle = await cliBundle();
      images = Images.make();
    });
    after(() => {
      images?.remove();
      if (RECORDS && Object.keys(kept).length > 0) writeFileSync(file, `${JSON.stringify(kept, null, 2)}\n`);
    });

    for (const one of casesOf(name).filter((_, index) => SOAK || index % PARTS === DAY % PARTS)) {
      const { text, reason } = one;
      it(reason === null ? text : `${text} (differs: ${reason})`, async () => {
        const found = await runCase(one, images, ours, theirs);
        const { faults } = found;
        if (reason === null) {
          expect(found.ours).to.deep.equal(found.theirs);
          expect(faults).to.deep.equal([]);
          return;
        }
        expect([...known], 'headings of docs/differences.md').to.include(reason);
        // Whatever differs, we say what we have said before.
        const said = found.ours.said.map(({ code, stdout, stderr }) => [code, stdout, stderr] as const);
        if (RECORDS) kept[text] = said;
        expect(said, 'what is kept in differs/').to.deep.equal(kept[text]);
        expect({ ...found.ours, faults }, 'there is no difference any more').to.not.deep.equal({
          ...found.theirs,
          faults: [],
        });
      });
    }
  });
}
