// 200 seeded random chains made by qemu-img and qemu-io: reading every image through us equals `qemu-img convert -O raw`.

import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { requirePeer } from '../support/peers.js';
import { makeChain } from './chain-maker.js';
import { differenceAt, readImage, referenceContent, SEED, useBench } from './support.js';

const CHAINS = Number(process.env['DISKWRIGHT_CHAINS'] ?? 200);

describe('random chains', function () {
  this.timeout(600_000);
  const bench = useBench('chains');

  before(function () {
    requirePeer(this, 'qemu-img');
    requirePeer(this, 'qemu-io');
  });

  it(`read as qemu-img reads them (${CHAINS} chains from seed ${SEED})`, async () => {
    for (let seed = SEED; seed < SEED + CHAINS; seed++) {
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
