// Seeded random chains made by qemu-img and qemu-io: reading every image through us equals `qemu-img convert -O raw`.

import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { requirePeer } from '../support/peers.js';
import { seedsOf, spanOf, timeLimit } from '../support/sample.js';
import { makeChain } from './chain-maker.js';
import { differenceAt, FIRST_SEED, readImage, referenceContent, useBench } from './support.js';

const SEEDS = seedsOf({ first: FIRST_SEED, fixed: 24, daily: 8, soak: 1000 });

describe('random chains', function () {
  this.timeout(timeLimit(600_000));
  const bench = useBench('chains');

  before(function () {
    requirePeer(this, 'qemu-img');
    requirePeer(this, 'qemu-io');
  });

  it(`read as qemu-img reads them (${spanOf(SEEDS)})`, async () => {
    for (const seed of SEEDS) {
      const folder = mkdtempSync(join(bench.folder, 'chain-'));
      for (const { path, format, size } of makeChain(folder, seed)) {
        const ours = await readImage(bench, path, format);
        expect(ours.length, `seed ${seed} ${path}`).to.equal(size);
        expect(differenceAt(ours, referenceContent(bench, path, format)), `seed ${seed} ${path}`).to.equal(-1);
      }
      rmSync(folder, { recursive: true });
    }
  });
});
