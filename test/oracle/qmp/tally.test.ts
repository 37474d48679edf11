// The scripts of this folder have at least so many commands of each subject.

import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { tally } from './tally.js';

const FOLDER = fileURLToPath(new URL('.', import.meta.url));
const LEAST = {
  graph: 450,
  bitmaps: 175,
  copy: 300,
  objects: 100,
  transaction: 60,
  exports: 120,
  jobs: 45,
  devices: 35,
};

describe('qmp against qemu-storage-daemon: scripts', () => {
  before(function () {
    // What is counted is what was loaded.
    const loaded = new Set(this.test?.parent?.parent?.suites.map(({ file }) => file));
    const all = readdirSync(FOLDER).filter((name) => name.endsWith('.test.ts'));
    if (!all.every((name) => loaded.has(`${FOLDER}${name}`))) this.skip();
  });

  it('have many commands of each subject', () => {
    const counts = tally();
    for (const [group, least] of Object.entries(LEAST)) expect(counts[group], group).to.be.at.least(least);
  });
});
